#pragma once

#include <array>
#include <cstddef>

namespace shardscout::internal {

/// How many tokens the experts of one rank get: experts in classes of equal load, few enough to work with quickly.
struct ExpertLoads {
  struct Class {
    double experts = 0;
    double rows = 0;  ///< Tokens of each of them.
  };
  std::array<Class, 16> classes;
  std::size_t num_classes = 0;
  double distinct = 0;  ///< Experts that get any token.
  double rows = 0;      ///< (token, expert of the rank) pairs.

  void Add(double experts, double rows_each);
  /// Tiles of `tile_rows` tokens.
  double Tiles(double tile_rows) const;
};

/// Where tokens go: `tokens` of them to `topk` of `experts` each; the rank holds experts / ranks.
struct Routing {
  double tokens = 1, topk = 1, experts = 1, ranks = 1;
  double LocalExperts() const { return experts / ranks; }
};

/// Dealt out in turn, as AIConfigurator's "balanced" tables are: token t takes every s-th expert from t mod s on, s =
/// ceil(experts / topk). All pairs are counted where topk divides the experts; else up to a token's last ones. Of fewer
/// tokens than s on ranks with fewer experts than s, the mean rank, rounded up; else the first one.
///
/// Worked example (a test): 6 tokens to 2 of 8 experts, 2 ranks. s = 4: tokens 0 and 4 take experts 0 and 4, tokens 1
/// and 5 experts 1 and 5, and so on. Of experts 0 to 3 two have 2 rows and two have 1: rows 6, distinct 4; tiles of one
/// row 6, of two rows 4. 3 tokens to 3 of 8 experts, one rank: s = 3, token 2 would take 2, 5 and 8: 8 of the 9 pairs.
ExpertLoads DealtLoads(const Routing& routing);

/// Independent and even, as a Poisson process: of the mean rank, experts hit, local (1 - exp(-mean)), and their mean
/// load; in three classes, the middle half at the mean and the others 1.5 standard deviations, sqrt(mean), off, with
/// one row at least.
ExpertLoads EvenLoads(const Routing& routing);
/// The same of `rows` pairs over `local` experts, of which `distinct` get any.
///
/// Worked example (a test): 256 pairs over 4 experts, all hit: a mean of 64 and a deviation of sqrt(64) = 8, so one
/// expert with 52, two with 64, one with 76.
ExpertLoads EvenLoads(double local, double distinct, double rows);

/// The busiest rank's, where experts' popularity is drawn from a truncated power law with `exponent` (1 excluded), as
/// in AIConfigurator's "power_law" tables: on [1, 0.8 tokens] where there are more pairs than experts, else on [0.01,
/// 2]. A closed form fitted to simulations of that sampling: rows within 3 % in the median.
///
///   x_j     16 midpoint quantiles of the law; c_j = round(min(tokens, x_j pairs / (experts mean x)))
///   rows    = pairs / ranks + 0.6 log2(ranks)^(0.95 + 0.12 n^-0.8) sqrt(n (1 - 1 / ranks)) sd(c),   n local experts:
///           the largest of `ranks` sums of n draws
///   shape   the quantiles at v^(1 / kappa), kappa = 1 + (ranks - 1) / n^1.2, scaled to the rows, at most `tokens` each
///           (what is cut off goes to the others), rounded to whole tokens, the largest first; what rounding loses goes
///           to idle experts, so that classes add up to about the rows
///
/// Worked example (a test): 10 tokens to 2 of 8 experts, exponent 2: 20 pairs, the law on [1, 8], x_j = 8 / (8 - 7 (j
/// + 1/2) / 16): 256/249, 256/235, ..., 256/39, of mean 2.368. x_j 2.5 / 2.368 = 1.09, 1.15, ..., 5.10, 6.93: c is 1
/// five times, 2 six times, 3 twice, then 4, 5, 7; sd(c) = 1.619. One rank has 20 rows; the busiest of two, n = 4,
/// log2(2) = 1, has 10 + 0.6 * 1 * sqrt(4 (1 - 1/2)) * 1.619 = 11.374.
ExpertLoads PowerLawLoads(const Routing& routing, double exponent);

}  // namespace shardscout::internal
