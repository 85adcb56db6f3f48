// One photograph's way in: a presigned URL, the upload to S3, the row.

import { presignUpload, session } from "./backend.js";
import { insertImage } from "./documents.js";
import { request } from "./graphql.js";

/** Upload a file and insert its row; the event trigger does the rest. */
export async function addPhotograph(file, { onId, onProgress }) {
  await refuseUnsuitable(file);
  const { id, url, headers } = await presignUpload(file);
  onId(id);
  await put(url, headers, file, onProgress);
  await request(insertImage, { id });
}

/** Say at once what the backend would refuse. */
async function refuseUnsuitable(file) {
  const { upload_types: types, upload_formats: formats, max_upload_bytes: limit } = await session();
  if (!types.includes(file.type)) {
    throw coded("unsupported-type", `Only ${formats} are taken.`);
  }
  if (file.size === 0) throw coded("unsuitable-size", "This file is empty.");
  if (file.size > limit) {
    throw coded("unsuitable-size", `This file is larger than ${limit / 2 ** 20} MB.`);
  }
}

/** PUT a file; by XMLHttpRequest because fetch does not tell how far an upload is. */
function put(url, headers, file, onProgress) {
  return new Promise((resolve, reject) => {
    const transfer = new XMLHttpRequest();
    transfer.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) transfer.setRequestHeader(name, value);
    transfer.upload.onprogress = ({ loaded, total }) => onProgress(loaded / total);
    transfer.onload = () =>
      transfer.status === 200
        ? resolve()
        : reject(coded("upload-refused", `S3 refused the upload (${transfer.status}).`));
    transfer.onerror = () => reject(coded("upload-failed", "The upload broke off."));
    transfer.send(file);
  });
}

function coded(code, message) {
  return Object.assign(new Error(message), { code });
}
