// Calls to the application's own backend: the session, presigned URLs, samples.

let current; // a promise of the session, so that many callers make one request

/** The visitor's token for Hasura and where Hasura is; renewed a minute before it ends. */
export function session({ fresh = false } = {}) {
  if (fresh || !current) {
    const asked = api("api/session", { method: "POST" }).then((answer) => ({
      ...answer,
      endsAt: Date.now() + (answer.expires_in_s - 60) * 1000,
    }));
    asked.catch(() => {
      if (current === asked) current = undefined;
    });
    current = asked;
  }
  return current.then((held) => (held.endsAt > Date.now() ? held : session({ fresh: true })));
}

/** Ask for leave to upload one file: an id, a URL for one PUT, and the headers that it needs. */
export async function presignUpload(file) {
  return authorized("api/uploads", {
    method: "POST",
    body: JSON.stringify({ type: file.type, size: file.size }),
  });
}

/** URLs of an image: `source`, and when it is done `cutout` and `download`. */
export async function imageUrls(id) {
  return authorized(`api/images/${id}`);
}

/** The photographs that can be tried with one click: `name` and `url` each. */
export async function listSamples() {
  return api("samples");
}

async function authorized(path, options = {}) {
  const { token } = await session();
  return api(path, { ...options, headers: { authorization: `Bearer ${token}` } });
}

async function api(path, options) {
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.message), { code: answer.code });
  return answer;
}
