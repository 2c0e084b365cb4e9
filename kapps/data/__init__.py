"""A dataset spec becomes train, validation and test.

load(spec)              `ImageData`: splits, class names, shapes, fingerprint, notes
load_as_configured      the same by the flags of a recipe
parse(spec)             the kind of a spec and what follows its colon (fast, no TensorFlow)
check(spec, data_dir)   is the spec well-formed, and is its path there? (fast, no TensorFlow)
prepare(spec)           fetch, convert or decode ahead of time; says what it did
clean(spec)             delete what is kept of a folder or of shards: index and decoded pictures
describe(spec)          counts, sizes, duplicates and unreadable files, as a dict
describe_text(report)   the same, to be read
near_duplicates         pictures of one split that are, almost, in another
twins_in_train          those of the test split that are in the training split
class_weights           weights that give every class the same share of the loss
pixel_statistics        per-channel mean and standard deviation of a split
whitening_kernel        of a first layer that whitens the patches of a split's images
mean_image              the mean of a split's images
without_class           a dataset less one of its classes
TrainingBatches, evaluation_batches, classification_targets, smooth
                        batches for `fit`, a function of (seed, epoch, step)
IndexedBatches          the same for anything that has row numbers
FullBatches             the same batch at every step
load_text, TextData     a text in three contiguous parts, as symbols
TextLanes, text_stream, text_stretches
                        it in batches that go on where those before ended
load_documents, DocumentData, check_documents
                        texts with a class each, of a table, of folders, or of Python itself
binarized               a split with pixels of 0 and 255, drawn once
Augmentation            flip, crop, rotation, resized crop, colours, policy, erasing, mixup, cutmix
OwnAugmentation         a function of one's own among them
Reading                 how files of pictures are decoded, in training and when served
ImageData, Split        what `load` returns
quick_fingerprint(spec) have the files changed? (fast, no TensorFlow)
folds                   (rest, fold) of K folds, by class, group or time
load_table(spec, ...)   a table: `TableData`, with what its training part says of each column
check_target, TABLES    is there such a column; tables that come with scikit-learn (fast)
number_bins, bin_edges  quantiles of columns of numbers, of the training part
describe_table, describe_table_text
                        what is in a table, as a dict and to be read
load_points, load_xor, load_function, PointData
                        generated points of the plane, and functions of one number
only_classes            the pictures of some classes, in memory
load_sequences(spec)    series, `SequenceData`: a class or a number each, or a class per step
memory_task             new series of the adding problem or the copying task
PACKAGED_SERIES, packaged_path
                        names of the sets that come with aeon, and their files (fast)
sequence_statistics, SeriesAugmentation
                        mean and deviation of each feature; warps, windows, noise
decode                  the one image decoder, used in training and in exported models
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
