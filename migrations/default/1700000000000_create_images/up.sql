-- gen_random_uuid() is built in since PostgreSQL 13; in 12 it comes with pgcrypto.
DO $$
BEGIN
  IF current_setting('server_version_num')::int < 130000 THEN
    CREATE EXTENSION IF NOT EXISTS pgcrypto;
  END IF;
END;
$$;

CREATE TABLE public.images (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  owner_id text,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'done', 'failed')),
  transparent_key text,
  width integer,
  height integer,
  coverage real CHECK (coverage BETWEEN 0 AND 1),
  model text,
  error_code text,
  error_message text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  processed_at timestamptz
);

COMMENT ON TABLE public.images IS 'One row per source image; a background remover fills in the result.';
COMMENT ON COLUMN public.images.owner_id IS 'The x-hasura-user-id of the user who inserted the row.';
COMMENT ON COLUMN public.images.transparent_key IS 'S3 key of the transparent PNG.';
COMMENT ON COLUMN public.images.coverage IS 'Share of opaque area, 0 to 1.';

CREATE INDEX images_owner_id_idx ON public.images (owner_id);
-- For the pages of rows that still lack a result.
CREATE INDEX images_unfinished_idx ON public.images (id) WHERE status <> 'done';

CREATE FUNCTION public.set_images_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at = now();
  RETURN NEW;
END;
$$;

CREATE TRIGGER set_images_updated_at BEFORE UPDATE ON public.images
FOR EACH ROW EXECUTE FUNCTION public.set_images_updated_at();
