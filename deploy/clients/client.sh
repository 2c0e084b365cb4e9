#!/bin/sh
# Names a picture by a served image classifier.
# sh client.sh http://127.0.0.1:8501 image_classifier PICTURE
set -eu
{
  printf '{"signature_name": "from_bytes", "instances": [{"image_bytes": {"b64": "'
  base64 <"$3" | tr -d '\n'
  printf '"}}]}'
} | curl --fail-with-body --silent --show-error --data-binary @- "$1/v1/models/$2:predict"
