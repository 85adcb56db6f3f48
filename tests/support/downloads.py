"""Where tests download from: a fake of the model hub, and a package index that may be missing."""

from http.server import BaseHTTPRequestHandler

from webhook.models import CHECKPOINTS

LITE = CHECKPOINTS["ZhengPeng7/BiRefNet_lite"]
CONTENT = b"not what was published" * 1000
# What uv says where the package index can't be reached.
NO_NETWORK = ("dns error", "error sending request", "Could not connect", "timed out")


class FakeHub(BaseHTTPRequestHandler):
    """Serves one file of one repository at one revision; everything else is gated."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self.asked.append(self.path)
        if self.path != f"/{LITE.repository}/resolve/{LITE.revision}/model.safetensors":
            self.send_response(403)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("X-Error-Message", "Access to this model is restricted.")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", LITE.revision)
        self.send_header("ETag", '"an-etag"')
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass
