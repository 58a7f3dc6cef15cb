"""One LLVM variant for all tests; memory and kernels are given back between modules."""

import gc

import pytest

import pbdr

pbdr.set_variant("llvm_ad_rgb")

import drjit as dr  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def release_memory():
    yield
    gc.collect()
    dr.flush_malloc_cache()
