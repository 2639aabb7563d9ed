# SPDX-License-Identifier: Apache-2.0
"""Drop-in for code that embeds images in its own process:

    vectors = embedding_service.embed_images_batch(images)

Same call, now answered by the embedd server at EMBEDD_TARGET (default localhost:50051).
"""

from typing import Any, Iterable, List

from embedd import default_client


def embed_images_batch(images: Iterable[Any]) -> List[List[float]]:
    """Embeds `images` (PIL images, paths, bytes or uint8 arrays): N lists of D floats of L2 norm 1, in order.

    Raises `embedd.EmbedError`; an image that cannot be embedded raises `embedd.ImageRejected`.
    """
    return default_client().embed_images_batch(images)
