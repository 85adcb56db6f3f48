DROP TABLE public.images;
DROP FUNCTION public.set_images_updated_at();
