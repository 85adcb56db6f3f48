ALTER TABLE public.images
  ADD COLUMN lock_version integer NOT NULL DEFAULT 0,
  ADD COLUMN cutout_etag text;

COMMENT ON COLUMN public.images.lock_version IS 'Raised by each write of the background remover, which writes only over the version that it has seen.';
COMMENT ON COLUMN public.images.cutout_etag IS 'S3 ETag of the transparent PNG that the row describes.';
