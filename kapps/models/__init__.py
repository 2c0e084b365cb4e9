"""Model builders: functions with plain keyword arguments that return a `keras.Model`.

Image classifiers (raw pixels of 0..255 in, logits out):
    mlp               multilayer perceptron
    cnn               plain convolutional network, every dimension tunable
    vgg               VGG-11 to 19
    inception         GoogLeNet, and a small one
    resnet            ResNet-18 to 101, ResNet-20 to 110 for small images, two for fast training
    classifier        any of them by name
    classifier_names  the names; check_classifier refuses others (both without Keras)
    start_at_identity convolutions that begin by handing on what they get
    with_views        any of them, answering with the mean over shifted and mirrored images

Networks trained on ImageNet (raw pixels of 0..255 in):
    backbone          any of keras.applications and EfficientNet-Lite0, up to its last feature map
    backbone_stages   its layers by stage, from the input to the output
    pretrained_classifier
                      the same with its head: a thousand logits
    backbone_names, imagenet_names, check_backbone
                      what there is, what the logits stand for, what is refused (without Keras)
    backbone_table    module: the table, BACKBONES (without Keras)

    transfer_classifier
                      a backbone, pooled, with a new head
    transfer          module: which stages may move, the head by itself

Networks of one layer (a training step of their own; raw pixels or points in, scores out):
    perceptron        Rosenblatt's rule, and the pocket: `Perceptron`
    delta_rule        Widrow and Hoff's: `DeltaRule`
    class_logits, pair_of_logits
                      either of them, trained, as a classifier with a logit per class

Tables (raw columns by name in, logits or a quantity out):
    tabular_mlp       multilayer perceptrons on the columns of a table, which they take raw

Autoencoders (a custom training step; raw pixels in, pixels of 0..1 out):
    Autoencoder       the class: losses, corruption, sparsity, anomaly score
    linear_autoencoder, dense_autoencoder, residual_autoencoder, conv_autoencoder
                      its networks
    corrupt           noise for denoising ones

Variational autoencoders (a custom training step; raw pixels in, pixels of 0..1 out):
    VAE               the class: bounds, likelihoods, levels of latents
    dense_vae, conv_vae, hierarchical_vae
                      its networks
    KLWarmup, CyclicKL
                      schedules of the weight of the KL
    VampPrior         a prior that is learned

VQ-VAE (a custom training step; raw pixels in, pixels of 0..1 out):
    VQVAE, vq_vae     the class, and its convolutional networks
    CodePrior, code_prior
                      how likely codes are, to sample from: a gated PixelCNN

Generative adversarial networks (raw pixels in, latent vectors to pixels of 0..1 out):
    GAN               the class: losses, penalties, augmentation, averaged generator
    gan               both players and the game, from one set of arguments
    gan_generator, gan_discriminator
                      its convolutional networks
    gan_dense_generator, gan_dense_discriminator
                      and those for tiny images

Recurrent networks (series padded with NaN in, logits or numbers out):
    rnn               simple, LSTM and GRU layers, in both directions, residual, from step to step
    rnn_fcn           LSTM-FCN and GRU-FCN: one of them beside three convolutions over time
    inception_time    InceptionTime: convolutions of several lengths over time
    TruncatedBPTT     the class of truncated back-propagation: streams, lanes, memory
    char_rnn          it, saying which character comes next
    generate_text, score_text
                      texts from it, and the bits that it needs for them

Texts (strings in, logits out):
    text_classifier   embedded words, perhaps read in both directions, pooled by attention
    word_vocabulary   the words of training texts
    word_idf          how rare each of them is

Many small networks at once (points in, an output per network out):
    stacked_mlp       multilayer perceptrons that differ in their initial weights
    stacked_loss, losses_of_copies, stacked.copy_of
                      their loss, and one of them as a model of its own
backprop              module: back-propagation by hand, against tf.GradientTape

Several devices:
    see `kapps.training.patch_for_replicas`

multiply_adds(model) says what one forward pass costs, trainable_parameters(model) how many numbers
training moves.
"""

import lazy_loader as lazy

from kapps import keras_setup

_load, __dir__, __all__ = lazy.attach_stub(__name__, __file__)

# Tables of names, which flags and `--help` read. All else is Keras.
_WITHOUT_KERAS = frozenset(
    (
        "backbone_names",
        "backbone_table",
        "check_backbone",
        "check_classifier",
        "classifier_names",
        "imagenet_names",
    )
)


def __getattr__(name: str):
    if name in __all__ and name not in _WITHOUT_KERAS:
        keras_setup.check()
    return _load(name)
