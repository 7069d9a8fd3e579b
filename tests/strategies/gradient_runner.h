#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/strategies/block_runner.h"

namespace shardscout::interpret {

/// Runs the backward pass of one block on all ranks of a stage, after its forward pass. The derivative of a compute
/// task is found by central differences of the task itself on each rank, in double precision: what is tested is the
/// program (which gradients go where, over which collectives), not a second implementation of the kernels.
class GradientRunner {
 public:
  /// `runner` has run `block`; both outlive this.
  GradientRunner(BlockRunner& runner, const Block& block) : runner_(runner), block_(block) {}

  /// `output_gradient`: laid out as the block's output; ignored for a block that ends with the loss.
  void Run(const Held& output_gradient, const std::string& where);

  /// Whole, laid out as the block's input.
  const Held& InputGradient() const;

  /// The derivative in the direction of a change of the weights of `kind`: what the ranks' weight gradients say, summed
  /// over those that share a weight and saw other tokens (or other parts of the output). `changed`: a runner with the
  /// weights moved by +step and by -step.
  double WeightDerivative(WeightKind kind, BlockRunner& plus, BlockRunner& minus, double step);

 private:
  void Differentiate(const Task& task);
  /// Ranks of its tp group that hold a column of the product's output.
  double Holders(const Task& product, Tag column, std::size_t rank);
  void SumCopies(const Task& task);
  void PadSlice(const Task& task);
  LocalPtr ByInput(const Task& forward, const Task& back, ValueId input, std::size_t rank);
  /// <gradients, outputs of the forward task on the rank as it stands>.
  double Product(BlockRunner& runner, const Task& forward, const Task& back, std::size_t rank);

  BlockRunner& runner_;
  const Block& block_;
};

}  // namespace shardscout::interpret
