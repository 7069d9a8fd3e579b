#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/strategies/block_runner.h"
#include "tests/strategies/routing_gradient.h"

namespace shardscout::interpret {

/// Runs the backward pass of one block on all ranks of a stage, after its forward pass. The derivative of a compute
/// task is found by central differences of the task itself on each rank, in double precision: what is tested is the
/// program (which gradients go where, over which collectives), not a second implementation of the kernels. What the
/// backward pass computes again is forgotten before.
class GradientRunner {
 public:
  /// `runner` has run `block`; both outlive this.
  GradientRunner(BlockRunner& runner, const Block& block) : runner_(runner), block_(block) {}

  /// By how much the score of the last expert chosen is above that of the first one not chosen, the least of all
  /// tokens: what may move by less leaves the choice alone. Infinite without a router.
  double RoutingMargin() const;

  /// `output_gradient`: laid out as the block's output; ignored for a block that ends with the loss.
  void Run(const Held& output_gradient, const std::string& where);

  /// Whole, laid out as the block's input.
  const Held& InputGradient() const;

  /// The derivative in the direction of a change of `weight`: what the ranks' weight gradients say, summed over those
  /// that share a weight and saw other tokens (or other parts of the output). `plus`, `minus`: runners with the weights
  /// moved by +step and by -step.
  double WeightDerivative(const Weight& weight, BlockRunner& plus, BlockRunner& minus, double step);

 private:
  /// A number of a value that a derivative is by.
  using Element = double& (*)(Local&, Eigen::Index, Eigen::Index);

  void RunTask(const Task& task);
  void Forget(const Task& task);
  void ComputeAgain(const Task& task);
  void ForgetStates(BlockRunner& runner, std::size_t rank);
  void Differentiate(const Task& task);
  /// Ranks of its tp group that hold a column of the product's output.
  double Holders(const Task& product, Tag column, std::size_t rank);
  void SumCopies(const Task& task);
  void PadSlice(const Task& task);
  /// [rows of the input, columns]: of <gradients, outputs of the forward task> by each element of its input.
  Matrix ByInput(const Task& forward, const Task& back, ValueId input, std::size_t rank, Eigen::Index columns,
                 Element element);
  /// [rows of the output]: <gradients, outputs of the forward task on the rank as it stands>, row by row.
  Eigen::VectorXd Products(BlockRunner& runner, const Task& forward, const Task& back, std::size_t rank);

  // The gradients of the weights of experts' results.
  void MoveRouting(const Task& task);
  void DifferentiateRouting(const Task& forward, const Task& back);
  void AddRoutingProducts(const Task& back, const Local& routed, std::size_t rank, Eigen::VectorXd* products);

  BlockRunner& runner_;
  const Block& block_;
  std::map<ValueId, std::vector<RoutingGradient>> routing_;  ///< By gradient, by rank.
};

}  // namespace shardscout::interpret
