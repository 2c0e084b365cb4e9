"""The recipe transfer_learning on a tiny backbone; also a program to be killed.

python small_transfer.py RUN_DIR STEP_TO_DIE_AT
"""

import sys

from crashes import Die
from kapps import models
from kapps.command_line import call
from kapps.training import setup
from models.pretrained import small_backbone
from recipes import transfer_learning
from recipes.transfer_learning import Config

ROW = models.backbone_table.BackboneRow(
    "", "tf", 16, 8, (("stem", ""), ("block1", "block1_"), ("block2", "block2_"))
)
SETTINGS = dict(
    backbone="small",
    weights="none",
    image_size=12,
    batch_size=128,
    epochs=3,
    fine_tune_epochs=3,
    learning_rate=0.1,
    export=False,
)


def install(set_attribute=setattr):
    """Make `--backbone small` known."""
    known = models.backbone

    def backbone(name, *, input_shape, **options):
        if name == "small":
            return small_backbone.backbone(input_shape, name=name)
        return known(name, input_shape=input_shape, **options)

    models.backbone_table.BACKBONES["small"] = ROW
    set_attribute(models, "backbone", backbone)


def killed(run_dir, step):
    die, usual = Die(int(step)), setup.callbacks
    setup.callbacks = lambda *arguments: [*usual(*arguments), die]
    call(transfer_learning, Config(run_dir=run_dir, **SETTINGS))


if __name__ == "__main__":
    install()
    killed(*sys.argv[1:])
