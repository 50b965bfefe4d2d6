"""A network around one stack of blocks: what can be done to the stack as a whole."""

from typing import Any

import torch
from torch import nn

from nexus.nn.blocks import Block
from nexus.nn.stacks import FactorizedStack, JointStack

COMPILED_FORMS = 32
"""Forms of a block that are compiled before the compiler gives up and runs it as it is."""


class StackedModule(nn.Module):
    """A module that keeps its blocks in `stack`."""

    stack: JointStack | FactorizedStack

    def enable_gradient_checkpointing(self, enabled: bool = True) -> None:
        """Keep only block inputs in the forward pass; recompute the rest in the backward pass."""
        self.stack.checkpointing = enabled

    def compile_stacks(self, **options: Any) -> None:
        """`torch.compile` the blocks in place; the state dict keeps its names.

        Blocks are alike: one of them is compiled, however many there are, for any number of tokens
        (masks differ in size from step to step).
        """
        # A block comes in several forms: with and without gradients, in training and evaluation,
        # of the encoder's width and of the predictor's, over tokens of three kinds of layout.
        config = torch.compiler.config
        config.recompile_limit = max(config.recompile_limit, COMPILED_FORMS)
        for block in self.stack.modules():
            if isinstance(block, Block):
                block.compile(**{"dynamic": True, **options})
