// The GraphQL documents of this project, as they lie in its folder graphql/.

const NAMES = ["insert_image", "watch_images", "remove_background"];

const [insertImage, watchImages, removeBackground] = await Promise.all(
  NAMES.map(async (name) => {
    const response = await fetch(`graphql/${name}.graphql`);
    if (!response.ok) throw new Error(`graphql/${name}.graphql can't be loaded`);
    return response.text();
  }),
);

export { insertImage, watchImages, removeBackground };
