#pragma once

// A file to which whole lines are appended by one process at a time, and from which they are read again: what the
// journal of a search and the results of a comparison are kept in. A line is handed to the kernel before the call
// returns, so that a killed process loses none; where the disk is full, what was begun is taken back.

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace shardscout::env {

/// How errors speak of the file.
struct LineFileWords {
  std::string name;    ///< "the journal"
  std::string in_use;  ///< "another search is writing this journal"
  std::string kept;    ///< What a full disk leaves: "the evaluations before are kept".
  std::string anew;    ///< How to go on without it: "search without --resume".
};

class LineFile {
 public:
  /// Opens the file, or makes it, and locks it. SpecError where that can't be done.
  LineFile(std::string path, LineFileWords words);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  const std::string& path() const { return path_; }

  /// Hands the first line to `read_header` and every other to `read_entry`, and cuts off the last one where it is torn
  /// (power loss), with a warning. Both throw SpecError for a line that they refuse: that of an entry other than the
  /// last is passed on with its number. `beginning`: how every header begins, also one that was cut. Returns whether a
  /// header was there.
  bool Replay(std::string_view beginning, const std::function<void(const std::string&)>& read_header,
              const std::function<void(const std::string&)>& read_entry, std::vector<std::string>* warnings);

  void Clear();

  /// All or nothing. `text` ends with a line's end.
  void Append(const std::string& text);

 private:
  [[noreturn]] void ThrowCannotWrite(int error) const;
  std::string ReadAll() const;
  void Truncate(std::size_t size);
  std::size_t GoodBytes(const std::string& text, std::string_view beginning,
                        const std::function<void(const std::string&)>& read_header,
                        const std::function<void(const std::string&)>& read_entry,
                        std::vector<std::string>* warnings) const;
  void WarnTorn(std::size_t number, std::vector<std::string>* warnings) const;

  const std::string path_;
  const LineFileWords words_;
  int fd_ = -1;
  bool regular_file_ = false;
  std::size_t good_bytes_ = 0;
};

}  // namespace shardscout::env
