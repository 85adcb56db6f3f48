ALTER TABLE public.images
  DROP COLUMN cutout_etag,
  DROP COLUMN lock_version;
