#pragma once

// The one place where torch is included. ATen's tensors, their autograd and torch::autograd::Function are all that the
// agents use; <torch/torch.h> (nn, optim, data, serialize) would double the time to compile every file and is left out.
// ivalue.h comes first: clang 14 in C++20 fails without it.
#pragma GCC system_header

#include <ATen/core/ivalue.h>
//
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/version.h>
