from .classic import backprop as backprop, stacked as stacked
from .classic.delta_rule import DeltaRule as DeltaRule, delta_rule as delta_rule
from .classic.linear import class_logits as class_logits, pair_of_logits as pair_of_logits
from .classic.perceptron import Perceptron as Perceptron, perceptron as perceptron
from .classic.stacked import (
    losses_of_copies as losses_of_copies,
    stacked_loss as stacked_loss,
    stacked_mlp as stacked_mlp,
)
from .cost import (
    multiply_adds as multiply_adds,
    size as size,
    trainable_parameters as trainable_parameters,
)
from .generative.autoencoders.autoencoder import Autoencoder as Autoencoder
from .generative.autoencoders.corruption import corrupt as corrupt
from .generative.autoencoders.networks import (
    conv_autoencoder as conv_autoencoder,
    dense_autoencoder as dense_autoencoder,
    linear_autoencoder as linear_autoencoder,
    residual_autoencoder as residual_autoencoder,
)
from .generative.gan.builder import gan as gan
from .generative.gan.gan import GAN as GAN
from .generative.gan.networks import (
    gan_dense_discriminator as gan_dense_discriminator,
    gan_dense_generator as gan_dense_generator,
    gan_discriminator as gan_discriminator,
    gan_generator as gan_generator,
)
from .generative.vae.kl_schedules import (
    CyclicKL as CyclicKL,
    KLWarmup as KLWarmup,
)
from .generative.vae.networks import (
    conv_vae as conv_vae,
    dense_vae as dense_vae,
    hierarchical_vae as hierarchical_vae,
)
from .generative.vae.priors import VampPrior as VampPrior
from .generative.vae.vae import VAE as VAE
from .generative.vqvae.code_prior import (
    CodePrior as CodePrior,
    code_prior as code_prior,
)
from .generative.vqvae.vq_vae import (
    VQVAE as VQVAE,
    vq_vae as vq_vae,
)
from .identity import start_at_identity as start_at_identity
from .images.classifier import classifier as classifier
from .images.cnn import cnn as cnn
from .images.inception import inception as inception
from .images.mlp import mlp as mlp
from .images.resnet import resnet as resnet
from .images.variants import (
    check_classifier as check_classifier,
    classifier_names as classifier_names,
)
from .images.vgg import vgg as vgg
from .inference import (
    for_inference as for_inference,
    in_units as in_units,
)
from .pretrained import backbone_table as backbone_table, transfer as transfer
from .pretrained.backbone import (
    backbone as backbone,
    backbone_stages as backbone_stages,
    pretrained_classifier as pretrained_classifier,
)
from .pretrained.backbone_table import (
    backbone_names as backbone_names,
    check_backbone as check_backbone,
    imagenet_names as imagenet_names,
)
from .pretrained.transfer import transfer_classifier as transfer_classifier
from .recurrent import rnn as rnn
from .series.inception_time import inception_time as inception_time
from .series.rnn_fcn import rnn_fcn as rnn_fcn
from .tables.mlp import tabular_mlp as tabular_mlp
from .text.char_rnn import (
    char_rnn as char_rnn,
    generate_text as generate_text,
    score_text as score_text,
)
from .text.classifier import text_classifier as text_classifier
from .text.truncated import TruncatedBPTT as TruncatedBPTT
from .text.words import (
    word_idf as word_idf,
    word_vocabulary as word_vocabulary,
)
from .views import with_views as with_views
