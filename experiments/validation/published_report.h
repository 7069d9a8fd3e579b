#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "experiments/validation/published_prediction.h"
#include "experiments/validation/published_record.h"

namespace shardscout::validation {

/// How well predictions order the mappings of groups (group_kind ranking_same_gpus). A group is split by metric,
/// number format and number of GPUs; records of one mapping in it are one, by their means; groups with fewer than two
/// mappings are left out. Throughputs are compared by their inverse.
struct RankingSummary {
  std::size_t groups = 0;
  double mean_tau = 0;          ///< Of Kendall's tau-b.
  double mean_regret = 0;       ///< Measured cost of the mapping predicted best over the best measured cost, minus 1.
  std::size_t chosen_best = 0;  ///< Groups without regret.
};
RankingSummary RankingOf(const std::vector<PublishedRecord>& records,
                         const std::vector<PublishedPrediction>& predictions);

/// Whether the predictions see what fits.
struct FitSummary {
  std::size_t out_of_memory = 0;       ///< Records of that metric that are predicted,
  std::size_t predicted_so = 0;        ///< and of them, as not fitting.
  std::size_t ran = 0;                 ///< Other records whose memory is predicted,
  std::size_t wrongly_infeasible = 0;  ///< and of them, as not fitting.
};
FitSummary FitsOf(const std::vector<PublishedRecord>& records, const std::vector<PublishedPrediction>& predictions);

/// Tables by model, hardware, framework, phase, metric and in all: as many predictions, of all and of the records that
/// state their set-up; mean and median absolute percentage error and the median with its sign (above 0: predicted too
/// much); ranking, memory, and what is not predicted by reason.
void PrintPublished(std::ostream& out, const std::vector<PublishedRecord>& records,
                    const std::vector<PublishedPrediction>& predictions);

/// A row a record.
std::string PublishedCsv(const std::vector<PublishedRecord>& records,
                         const std::vector<PublishedPrediction>& predictions);

/// Reads the records of a file, predicts those of inference whose id contains `only`, and prints; writes `csv` unless
/// it is "".
void ValidatePublished(std::ostream& out, const std::string& path, const std::string& only, const std::string& csv);

}  // namespace shardscout::validation
