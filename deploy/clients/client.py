"""Names pictures by a served image classifier; the standard library is enough.

python client.py http://127.0.0.1:8501 image_classifier PICTURE...
"""

import base64
import json
import sys
import urllib.error
import urllib.request

url, model, *files = sys.argv[1:]
pictures = [base64.b64encode(open(file, "rb").read()).decode() for file in files]
body = {
    "signature_name": "from_bytes",
    "instances": [{"image_bytes": {"b64": picture}} for picture in pictures],
}
request = urllib.request.Request(
    f"{url}/v1/models/{model}:predict",
    json.dumps(body).encode(),
    {"Content-Type": "application/json"},
)
try:
    with urllib.request.urlopen(request, timeout=30) as answer:
        said = json.load(answer)["predictions"]
except urllib.error.HTTPError as error:
    sys.exit(json.load(error)["error"])
for file, one in zip(files, said, strict=True):
    print(file, one["label"], f"{max(one['probabilities']):.4f}")
