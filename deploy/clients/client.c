/* A published model of any kind in a C program: no server, no Python.
 *
 *   client DIRECTORY OUTPUT[,OUTPUT...] [INPUT TYPE SHAPE FILE]...
 *
 * INPUT and OUTPUT are tensors as the SavedModel names them; those of `serving_default` are shown by
 *
 *   saved_model_cli show --dir DIRECTORY --tag_set serve --signature_def serving_default
 *
 *   TYPE   uint8, int32, int64 or float32: FILE holds the numbers, as they are in memory
 *          lines: each line of FILE is a string;  file: FILE is one string, an image file for one
 *   SHAPE  lengths with commas between them; "" is a single value
 *
 *   client saved_models/image_classifier/1 StatefulPartitionedCall:1 \
 *          serving_default_image:0 uint8 1,28,28,1 pixels.raw
 *
 * For each OUTPUT its name, type and shape are printed in a line, then its rows, a line each; in
 * strings a new line is \n and a backslash \\. With the libraries of the wheel:
 *
 *   TF=$(python -c 'import tensorflow, os; print(os.path.dirname(tensorflow.__file__))')
 *   cc client.c -I$TF/include $TF/libtensorflow_cc.so.2 $TF/libtensorflow_framework.so.2 \
 *      -Wl,-rpath,$TF -o client
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

enum { MOST = 64, RANKS = 8 };

static const struct {
  const char *name;
  TF_DataType type;
  size_t size;
} TYPES[] = {
    {"uint8", TF_UINT8, 1},
    {"int32", TF_INT32, 4},
    {"int64", TF_INT64, 8},
    {"float32", TF_FLOAT, 4},
    {"lines", TF_STRING, sizeof(TF_TString)},
    {"file", TF_STRING, sizeof(TF_TString)},
};
enum { KNOWN = sizeof TYPES / sizeof *TYPES };

static TF_Status *status;

static void fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void check(const char *what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static char *contents_of(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) fail(path, "cannot be read");
  size_t room = 1 << 16, got;
  char *contents = malloc(room);
  *size = 0;
  while (contents && (got = fread(contents + *size, 1, room - *size, file)) > 0) {
    *size += got;
    if (*size == room) contents = realloc(contents, room *= 2);
  }
  if (contents == NULL) fail(path, "does not fit into memory");
  fclose(file);
  return contents;
}

static TF_Output tensor_of(TF_Graph *graph, const char *name) {
  char operation[1024];
  const char *colon = strrchr(name, ':');
  snprintf(operation, sizeof operation, "%.*s",
           (int)(colon ? colon - name : (long)strlen(name)), name);
  TF_Output found = {TF_GraphOperationByName(graph, operation), colon ? atoi(colon + 1) : 0};
  if (found.oper == NULL || found.index >= TF_OperationNumOutputs(found.oper))
    fail(name, "there is no such tensor");
  return found;
}

static TF_Tensor *input_of(const char *type, const char *shape, const char *path) {
  int known = 0, rank = 0;
  while (known < KNOWN && strcmp(TYPES[known].name, type)) known++;
  if (known == KNOWN) fail(type, "is no type that is known here");
  int64_t lengths[RANKS], count = 1;
  for (const char *at = shape; *at && rank < RANKS; rank++) {
    char *end;
    count *= lengths[rank] = strtoll(at, &end, 10);
    if (end == at || count < 0) fail(shape, "is no shape");
    at = *end == ',' ? end + 1 : end;
  }
  size_t size, bytes = (size_t)count * TYPES[known].size;
  char *contents = contents_of(path, &size);
  TF_Tensor *tensor = TF_AllocateTensor(TYPES[known].type, lengths, rank, bytes);
  if (TYPES[known].type != TF_STRING) {
    if (size != bytes) fail(path, "does not hold as many numbers as the shape says");
    memcpy(TF_TensorData(tensor), contents, bytes);
  } else {
    TF_TString *strings = TF_TensorData(tensor);
    char *at = contents, *end = contents + size;
    for (int64_t i = 0; i < count; i++) {
      char *stop = strcmp(type, "lines") ? end : memchr(at, '\n', (size_t)(end - at));
      if (stop == NULL) fail(path, "holds fewer lines than the shape says");
      TF_StringInit(&strings[i]);
      TF_StringCopy(&strings[i], at, (size_t)(stop - at));
      at = stop == end ? end : stop + 1;
    }
  }
  free(contents);
  return tensor;
}

static void print_value(TF_DataType type, const void *values, int64_t i) {
  if (type == TF_UINT8) printf("%u", ((const unsigned char *)values)[i]);
  if (type == TF_INT32) printf("%d", ((const int32_t *)values)[i]);
  if (type == TF_INT64) printf("%lld", (long long)((const int64_t *)values)[i]);
  if (type == TF_FLOAT) printf("%.9g", ((const float *)values)[i]);
  if (type != TF_STRING) return;
  const TF_TString *string = (const TF_TString *)values + i;
  const char *text = TF_StringGetDataPointer(string);
  for (size_t at = 0; at < TF_StringGetSize(string); at++) {
    if (text[at] == '\n') {
      printf("\\n");
    } else {
      if (text[at] == '\\') putchar('\\');
      putchar(text[at]);
    }
  }
}

static void print_output(const char *name, const TF_Tensor *tensor) {
  const TF_DataType type = TF_TensorType(tensor);
  int known = 0;
  while (known < KNOWN && TYPES[known].type != type) known++;
  if (known == KNOWN) fail(name, "is of a type that is not known here");
  printf("%s %s", name, type == TF_STRING ? "string" : TYPES[known].name);
  for (int axis = 0; axis < TF_NumDims(tensor); axis++)
    printf("%c%lld", axis ? ',' : ' ', (long long)TF_Dim(tensor, axis));
  printf("\n");
  const int64_t rows = TF_NumDims(tensor) ? TF_Dim(tensor, 0) : 1;
  const int64_t columns = rows ? TF_TensorElementCount(tensor) / rows : 0;
  for (int64_t i = 0; i < rows * columns; i++) {
    print_value(type, TF_TensorData(tensor), i);
    putchar((i + 1) % columns ? ' ' : '\n');
  }
}

int main(int argc, char **argv) {
  const int given = (argc - 3) / 4;
  if (argc < 3 || (argc - 3) % 4 || given > MOST) {
    fprintf(stderr, "client DIRECTORY OUTPUT[,OUTPUT...] [INPUT TYPE SHAPE FILE]...\n");
    return 2;
  }
  status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check("loading");

  TF_Output inputs[MOST], outputs[MOST];
  TF_Tensor *asked[MOST], *said[MOST];
  const char *names[MOST];
  int wanted = 0;
  for (char *name = strtok(argv[2], ","); name && wanted < MOST; name = strtok(NULL, ",")) {
    names[wanted] = name;
    outputs[wanted++] = tensor_of(graph, name);
  }
  for (int i = 0; i < given; i++) {
    char **words = argv + 3 + 4 * i;
    inputs[i] = tensor_of(graph, words[0]);
    asked[i] = input_of(words[1], words[2], words[3]);
  }
  TF_SessionRun(session, NULL, inputs, asked, given, outputs, said, wanted, NULL, 0, NULL, status);
  check("computing");
  for (int i = 0; i < wanted; i++) {
    print_output(names[i], said[i]);
    TF_DeleteTensor(said[i]);
  }
  for (int i = 0; i < given; i++) TF_DeleteTensor(asked[i]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
