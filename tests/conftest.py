"""Shape annotations are checked while the tests run; one thread keeps small models fast."""

import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
install_import_hook("nexus.nn", "beartype.beartype")
install_import_hook("nexus.models", "beartype.beartype")
