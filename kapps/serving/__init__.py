"""A trained model is published where TensorFlow Serving reads it, and asked.

publish(model, run, data, found, ...)    publish the model of a run, whatever its family
publish_and_close(model, run, ...)        the same, and its report: how a recipe ends
export(model, export_dir, class_names)   the next version of an image classifier, checked by
                                         reloading it
export_generator(model, export_dir)      the same for a VAE, VQ-VAE, GAN or autoencoder: encode,
                                         decode, sample ...
export_any(model, export_dir)            the same for any generative model, of images or texts
export_generative(endpoints, ...)        what these stand on: any functions become signatures
export_table(model, export_dir, ...)     the same for a model of a table: raw columns by name
predict_table_file(path, file)           what a published model says of the rows of a CSV file
export_sequences(model, export_dir, ...) the same for a model of series, padded with NaN
export_points(model, export_dir, ...)    the same for a model of points: classes, or a function
export_documents(model, export_dir, ...) the same for a classifier of texts
export_text(model, export_dir)           the same for a character model: generate, score
ask(path, arguments)                     what a published model of any family says
load(path)                               the SavedModel of a version, or of the highest one
predict(path, files)                     the most probable labels of image files
name_pictures(files)                     what is in them, by a network trained on ImageNet
convert(model, directory, format, ...)   an ONNX or LiteRT file, quantized if asked for
convert_signatures(model, directory, format, ...)
                                         the same for each signature of a model of any family
convert_run(run, model, ...)             the same for a run, with what quantizing costs
publish_for_inference(path, ...)         a version once more: weights as constants, ONNX files
load_model(path)                         a `.keras` file with the layers of kapps in it
write_version(export_dir, write)         what all of them stand on: a version appears whole
prune(root, keep), rollback(root)        fewer versions; the one before (no TensorFlow)
version_directory(path), versions(root), is_published(path)
                                         what is published (no TensorFlow)
find_models(root), check_root(root)      what `kapps serve` finds under a root (no TensorFlow)
bench(path), bench_table(rows)           how fast a published model answers, and how well
learnt_of_images(model, run, facts), statistics_of_published(run, facts)
                                         what a recipe's own version says of the training data
kept_images(run, facts)                  test images of a run, for that
run_card, check_format, check_quantize   a run's model card; is a format known? (no TensorFlow)
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
