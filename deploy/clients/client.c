/* A published image classifier in a C program: no server, no Python.
 *
 *   client DIRECTORY INPUT OUTPUT INDEX HEIGHT WIDTH CHANNELS < pixels
 *
 * reads pictures of HEIGHT x WIDTH x CHANNELS bytes each, as many as there are, and prints a line of
 * numbers for each. INPUT and OUTPUT are operations, INDEX the output of the latter; for the
 * `probabilities` of `serving_default` they are what
 *
 *   saved_model_cli show --dir DIRECTORY --tag_set serve --signature_def serving_default
 *
 * calls serving_default_image:0 and StatefulPartitionedCall:1. With the libraries of the wheel:
 *
 *   TF=$(python -c 'import tensorflow, os; print(os.path.dirname(tensorflow.__file__))')
 *   cc client.c -I$TF/include $TF/libtensorflow_cc.so.2 $TF/libtensorflow_framework.so.2 \
 *      -Wl,-rpath,$TF -o client
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static TF_Status *status;

static void check(const char *what) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s: %s\n", what, TF_Message(status));
    exit(1);
  }
}

static TF_Output output_of(TF_Graph *graph, const char *name, int index) {
  TF_Output output = {TF_GraphOperationByName(graph, name), index};
  if (output.oper == NULL) {
    fprintf(stderr, "there is no operation %s\n", name);
    exit(1);
  }
  return output;
}

int main(int argc, char **argv) {
  if (argc != 8) {
    fprintf(stderr, "client DIRECTORY INPUT OUTPUT INDEX HEIGHT WIDTH CHANNELS < pixels\n");
    return 2;
  }
  int64_t shape[4] = {0, atoll(argv[5]), atoll(argv[6]), atoll(argv[7])};
  const size_t picture = (size_t)(shape[1] * shape[2] * shape[3]);
  if (picture == 0) return 2;

  size_t size = 0, room = 1 << 16, got;
  unsigned char *pixels = malloc(room);
  while (pixels && (got = fread(pixels + size, 1, room - size, stdin)) > 0) {
    size += got;
    if (size == room) pixels = realloc(pixels, room *= 2);
  }
  if (pixels == NULL) return 1;
  shape[0] = (int64_t)(size / picture);

  status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check("loading");

  TF_Output input = output_of(graph, argv[2], 0);
  TF_Output output = output_of(graph, argv[3], atoi(argv[4]));
  TF_Tensor *given = TF_AllocateTensor(TF_UINT8, shape, 4, (size_t)shape[0] * picture);
  memcpy(TF_TensorData(given), pixels, (size_t)shape[0] * picture);
  TF_Tensor *said = NULL;
  TF_SessionRun(session, NULL, &input, &given, 1, &output, &said, 1, NULL, 0, NULL, status);
  check("computing");
  if (TF_TensorType(said) != TF_FLOAT || TF_NumDims(said) != 2) {
    fprintf(stderr, "the output is no table of float32\n");
    return 1;
  }
  const float *values = TF_TensorData(said);
  for (int64_t row = 0; row < TF_Dim(said, 0); row++) {
    for (int64_t column = 0; column < TF_Dim(said, 1); column++)
      printf("%s%.9g", column ? " " : "", *values++);
    printf("\n");
  }

  TF_DeleteTensor(given);
  TF_DeleteTensor(said);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  free(pixels);
  return 0;
}
