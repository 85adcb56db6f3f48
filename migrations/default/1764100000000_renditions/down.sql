ALTER TABLE public.images
  DROP COLUMN subject,
  DROP COLUMN renditions;
