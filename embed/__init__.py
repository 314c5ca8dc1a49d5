"""Photos to vectors: collections, images, encoders and the cache of embeddings."""
