ALTER TABLE public.images
  ADD COLUMN renditions jsonb,
  ADD COLUMN subject jsonb;

COMMENT ON COLUMN public.images.renditions IS 'The files beside the transparent PNG, by their names: key, width, height, bytes.';
COMMENT ON COLUMN public.images.subject IS 'Where the subject is, in pixels of the source: left, top, width, height. Null: next to nothing is opaque, or no rendition was asked for.';
