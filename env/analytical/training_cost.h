#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "env/analytical/block_cost.h"

namespace shardscout::env {

/// FLOP of the model's products for one token, forward and backward, nothing twice: 6 a weight that the token meets
/// (the embedding is looked up), and attention's 6 (qk_dim + v_dim) a head and position, all positions counted
/// (Chowdhery et al., arXiv 2204.02311, appendix B).
double ModelFlopPerToken(const Problem& problem);

/// Data parallel exchanges under one tuple of degrees; each time is found once.
class TrainingExchanges {
 public:
  /// `flop_per_token`: ModelFlopPerToken of the problem.
  TrainingExchanges(const Problem& problem, const Strategy& degrees, SpanCache& spans, double flop_per_token);

  double flop_per_token() const { return flop_per_token_; }

  double SharedRanks() const { return static_cast<double>(groups_[kShared].size); }
  double ExpertRanks() const { return static_cast<double>(groups_[kExperts].size); }

  /// Of the gradients of so many weights: those that cp * dp ranks share, experts', and those summed over tp as well.
  double GradientsTime(Collective collective, double elements, double expert_elements, double summed_elements);
  /// Of weights that others updated; `tensors`: matrices and vectors that hold them, for exchange by broadcast.
  double GatherTime(double elements, double expert_elements);
  double BroadcastTime(double elements, double expert_elements, double tensors);

 private:
  enum Where : std::uint8_t { kShared, kExperts, kTensor };
  struct Known {
    Collective collective;
    Where where;
    double bytes, seconds;
  };
  double Time(Collective collective, Where where, double bytes);

  const ClusterSpec& cluster_;
  const double gradient_bytes_, flop_per_token_;
  std::array<Group, 3> groups_;
  SpanCache& spans_;
  std::vector<Known> known_;
};

/// The costs of blocks whose values are kept, or computed again as far as the strategy's recomputation is kSelective,
/// and of those that are computed again (StageClass::again counts them).
struct TrainingBlocks {
  const StrategyCost& kept;
  const StrategyCost& again;
};

/// What one stage does in a training step (training_cost.cc has the formulas).
struct TrainingStage {
  double forward_s = 0, backward_s = 0;  ///< One micro-batch, transfers left out, ZeRO's gathers beside it included.
  double send_s = 0;                     ///< To one neighbour, of one chunk: activations or gradients.
  std::int64_t neighbours = 0;           ///< Stages that it sends to: 0, 1 or 2.
  double gradients_s = 0;                ///< Their exchange after the last micro-batch, however much of it is hidden.
  double parameters_s = 0;               ///< Gathering the weights that others have updated, as much as is not hidden.
  double optimizer_s = 0;
  double layers = 1;
};

/// Of each class of stages.
std::vector<TrainingStage> TrainingStages(const Problem& problem, const Strategy& strategy,
                                          const std::vector<StageClass>& stages, const TrainingBlocks& blocks,
                                          TrainingExchanges& exchanges);

/// The same of each stage, in order, priced from the strategy's own blocks.
std::vector<TrainingStage> TrainingStagesOf(const Problem& problem, const Strategy& strategy);

/// The memory of each class of stages, the fullest of the class.
std::vector<MemoryUse> TrainingMemories(const Problem& problem, const Strategy& strategy,
                                        const std::vector<StageClass>& stages, const TrainingBlocks& blocks,
                                        const TrainingExchanges& exchanges);

/// What is left of `exchange_s` when it goes on beside `computing_s`, in `parts` equal parts the last of which comes
/// after the computing.
double ExposedExchange(double exchange_s, double computing_s, double parts, bool overlapped);

/// The metrics and the memory of a step.
Evaluation AssembleTraining(const Problem& problem, const Strategy& strategy, const std::vector<StageClass>& stages,
                            const TrainingBlocks& blocks, TrainingExchanges& exchanges);

/// The metrics that follow from a step's time, and the memory of the fullest stage.
Evaluation TrainingEvaluation(const Problem& problem, const Strategy& strategy, double step_s, const MemoryUse& memory,
                              double flop_per_token);

}  // namespace shardscout::env
