#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/strategies/block_runner.h"
#include "tests/strategies/gradient_runner.h"

namespace shardscout::interpret {

/// One block of a training strategy, with an input and the loss <G, output> (of the head: the loss that it ends with).
/// The input is drawn again until no choice of experts is so close that the steps below change it.
class BlockProof {
 public:
  /// All references outlive this. Of the layers' weights the first layer's are taken, or of `layer`.
  BlockProof(const Problem& problem, const Strategy& strategy, const ModelWeights& weights, BlockKind kind,
             std::size_t layer = 0);

  /// Runs the block and its backward pass on all ranks and compares the derivatives by the input and by each matrix, in
  /// one direction each, with central differences of the forward pass. Returns the largest relative error; those above
  /// `tolerance` are test failures that name the weight. Throws InterpretError where the program does not do what its
  /// values say.
  double Check(double tolerance);

  /// Matrices whose derivatives were compared.
  const std::set<WeightKind>& compared() const { return compared_; }

 private:
  Pass MakePass() const;
  BlockRunner Runner(const ModelWeights& weights);
  double Loss(const ModelWeights& weights, const Held& input);
  Held Ids(const Value& value);
  std::vector<Matrix*> MatricesOf(const Weight& weight, ModelWeights& weights) const;
  bool Move(const Weight& weight, ModelWeights& weights, double step) const;

  const Problem& problem_;
  const Strategy& strategy_;
  const ModelWeights& weights_;
  const std::size_t layer_;
  const Block block_;
  Layouts layouts_;
  LayerCache cache_;
  LinearStates states_;
  Held input_, direction_, output_gradient_;
  std::set<WeightKind> compared_;
};

/// What a test of gradients has seen, to assert that nothing was left out.
class Coverage {
 public:
  void Add(const std::string& what) { seen_.insert(what); }
  void Add(const Strategy& strategy);
  void Expect(const std::vector<std::string>& all) const;

 private:
  std::set<std::string> seen_;
};

/// A global batch of `global_batch` sequences of 4 tokens on `devices` devices.
Problem TinyTrainingProblem(const ModelSpec& model, std::int64_t devices, std::int64_t global_batch = 4);

}  // namespace shardscout::interpret
