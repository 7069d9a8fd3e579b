#include "src/cli/completion.h"

#include <map>
#include <sstream>
#include <string_view>

namespace shardscout::cli {
namespace {

using Kind = Completion::Kind;

/// "A sentence. Another": as a shell's menu has room for it.
std::string Brief(const std::string& description) {
  constexpr std::size_t kMost = 90;
  if (description.size() <= kMost) return description;
  return description.substr(0, description.rfind(' ', kMost)) + " ...";
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

/// Within single quotes, for shells that end them with another: 'it'\''s'.
std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// What bash's _shardscout_offer takes.
std::string BashOffer(const OptionRow& option) {
  const Completion completion = CompletionOf(option);
  switch (completion.kind) {
    case Kind::kFiles:
      return "files";
    case Kind::kFolders:
      return "folders";
    case Kind::kWords:
      return "words " + Joined(option.choices);
    case Kind::kNames:
      return "names " + completion.list;
    case Kind::kNamesOrFiles:
      return "names_or_files " + completion.list;
    case Kind::kNameList:
      return "name_list " + completion.list;
    default:
      return "nothing";
  }
}

std::string ZshAction(const OptionRow& option) {
  const Completion completion = CompletionOf(option);
  switch (completion.kind) {
    case Kind::kFiles:
      return "_files";
    case Kind::kFolders:
      return "_files -/";
    case Kind::kWords:
      return "(" + Joined(option.choices) + ")";
    case Kind::kNames:
      return "_shardscout_names " + completion.list;
    case Kind::kNamesOrFiles:
      return "_shardscout_names_or_files " + completion.list;
    case Kind::kNameList:
      return "_shardscout_name_list " + completion.list;
    default:
      return " ";
  }
}

/// A description inside the brackets of an _arguments specification, or a message between its colons.
std::string ZshText(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

/// The arguments of _arguments for one option: one a name, which exclude each other unless it may be repeated.
void ZshOption(std::ostream& out, const OptionRow& option) {
  if (option.by_place) {
    out << " \\\n      " << Quoted((option.repeatable ? "*:" : ":") + option.names.front() + ":" + ZshAction(option));
    return;
  }
  for (const std::string& name : option.names) {
    std::string spec = option.repeatable ? "*" : "(" + Joined(option.names) + ")";
    spec += name;
    if (!option.takes.empty()) spec += name.starts_with("--") ? "=" : "+";
    spec += "[" + ZshText(Brief(option.description)) + "]";
    if (!option.takes.empty()) spec += ":" + ZshText(option.takes) + ":" + ZshAction(option);
    out << " \\\n      " << Quoted(spec);
  }
}

/// The end of fish's `complete` for an option's value.
std::string FishValue(const OptionRow& option) {
  const Completion completion = CompletionOf(option);
  const std::string names = "(__shardscout_names " + completion.list + ")";
  switch (completion.kind) {
    case Kind::kFiles:
      return " -r -F";
    case Kind::kFolders:
      return " -x -a '(__fish_complete_directories)'";
    case Kind::kWords:
      return " -x -a " + Quoted(Joined(option.choices));
    case Kind::kNames:
    case Kind::kNameList:
      return " -x -a " + Quoted(names);
    case Kind::kNamesOrFiles:
      return " -r -F -a " + Quoted(names);
    default:
      return " -x";
  }
}

std::string FishText(const std::string& text) {
  std::string escaped = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped + "'";
}

void FishOption(std::ostream& out, const std::string& condition, const OptionRow& option) {
  out << "complete -c shardscout -n " << Quoted(condition);
  if (!option.by_place) {
    for (const std::string& name : option.names) {
      out << (name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1));
    }
  }
  std::string value = option.takes.empty() ? "" : FishValue(option);
  // An argument by place is a word, not an option's: nothing follows it.
  if (option.by_place) value = value.starts_with(" -r") ? value.substr(3) : " -f" + value.substr(3);
  out << value;
  if (!option.by_place) out << " -d " << FishText(Brief(option.description));
  out << "\n";
}

constexpr std::string_view kBashBegin =
    R"shell(# Completion of shardscout for bash, written by "shardscout completion bash".

# What the program lists, one name a line. _shardscout_program is as it was typed.
_shardscout_list() {
  "$_shardscout_program" list "$1" --names 2>/dev/null
}

# _shardscout_offer KIND [MORE...]: sets COMPREPLY for the word $cur.
_shardscout_offer() {
  local kind=$1
  shift
  case $kind in
    files) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    folders) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    words) mapfile -t COMPREPLY < <(compgen -W "$*" -- "$cur") ;;
    names) mapfile -t COMPREPLY < <(compgen -W "$(_shardscout_list "$1")" -- "$cur") ;;
    names_or_files)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -W "$(_shardscout_list "$1")" -- "$cur"; compgen -f -- "$cur")
      ;;
    name_list)
      local before=
      case $cur in *,*) before=${cur%,*}, ;; esac
      compopt -o nospace 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -P "$before" -W "$(_shardscout_list "$1")" -- "${cur##*,}")
      ;;
  esac
}

)shell";

constexpr std::string_view kBashEnd = R"shell(
_shardscout() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-}
  local _shardscout_program=${COMP_WORDS[0]}
  COMPREPLY=()
  # --option=value comes as three words. Right after the = the word is the = itself.
  if [ "$cur" = = ]; then
    cur=
  elif [ "$prev" = = ] && [ "$COMP_CWORD" -ge 2 ]; then
    prev=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  if [ "$COMP_CWORD" -eq 1 ]; then
    _shardscout_offer words "$(_shardscout_words)"
    return
  fi
  local offer=
  case $prev in -*) offer=$(_shardscout_value "$command $prev") ;; esac
  if [ -n "$offer" ]; then
    _shardscout_offer $offer
  else
    case $cur in
      -*) _shardscout_offer words "$(_shardscout_options "$command")" ;;
      *) _shardscout_offer $(_shardscout_place "$command") ;;
    esac
  fi
}

complete -F _shardscout shardscout
)shell";

constexpr std::string_view kZshBegin = R"shell(#compdef shardscout
# Completion of shardscout for zsh, written by "shardscout completion zsh".

_shardscout_names() {
  local -a names
  names=(${(f)"$(_call_program names $shardscout_program list $1 --names 2>/dev/null)"})
  compadd -a names
}

_shardscout_names_or_files() {
  _alternative "names:name:_shardscout_names $1" 'files:file:_files'
}

_shardscout_name_list() {
  _sequence _shardscout_names $1
}

)shell";

constexpr std::string_view kZshEnd = R"shell(}

if [ "$funcstack[1]" = _shardscout ]; then
  _shardscout "$@"
else
  compdef _shardscout shardscout
fi
)shell";

constexpr std::string_view kFishBegin =
    R"shell(# Completion of shardscout for fish, written by "shardscout completion fish".

function __shardscout_names
    set -l words (commandline -opc)
    $words[1] list $argv[1] --names 2>/dev/null
end

complete -c shardscout -f
)shell";

}  // namespace

std::string BashCompletion(const OptionTable& table) {
  std::ostringstream out;
  out << kBashBegin << "_shardscout_words() {\n  echo '";
  for (const CommandRow& command : table.commands) out << command.name << " ";
  for (const OptionRow& option : table.program.options) out << Joined(option.names) << " ";
  out << "'\n}\n\n_shardscout_options() {\n  case $1 in\n";
  std::map<std::string, std::string> values;  // What is offered -> for which "command --option".
  std::string places;
  for (const CommandRow& command : table.commands) {
    out << "    " << command.name << ") echo '";
    bool placed = false;
    for (const OptionRow& option : command.options) {
      if (option.by_place) {
        if (!placed) places += "    " + command.name + ") echo '" + BashOffer(option) + "' ;;\n";
        placed = true;
        continue;
      }
      out << Joined(option.names) << " ";
      if (option.takes.empty()) continue;
      std::string& patterns = values[BashOffer(option)];
      for (const std::string& name : option.names) {
        patterns += (patterns.empty() ? "" : " |\\\n      ") + Quoted(command.name + " " + name);
      }
    }
    out << "' ;;\n";
  }
  out << "  esac\n}\n\n# What an option takes, by command and option; nothing for a flag.\n_shardscout_value() {\n"
      << "  case $1 in\n";
  for (const auto& [offer, patterns] : values) out << "    " << patterns << ") echo " << Quoted(offer) << " ;;\n";
  out << "  esac\n}\n\n_shardscout_place() {\n  case $1 in\n"
      << places << "    *) echo nothing ;;\n  esac\n}\n"
      << kBashEnd;
  return out.str();
}

std::string ZshCompletion(const OptionTable& table) {
  std::ostringstream out;
  out << kZshBegin << "_shardscout() {\n  local shardscout_program=$words[1]\n  local -a commands\n  commands=(\n";
  for (const CommandRow& command : table.commands) {
    out << "    " << Quoted(command.name + ":" + ZshText(Brief(command.description))) << "\n";
  }
  out << "  )\n  if (( CURRENT == 2 )); then\n    _describe -t commands command commands\n    _arguments -S";
  for (const OptionRow& option : table.program.options) ZshOption(out, option);
  out << "\n    return\n  fi\n  shift words\n  (( CURRENT-- ))\n  case $words[1] in\n";
  for (const CommandRow& command : table.commands) {
    out << "    " << command.name << ")\n      _arguments -S";
    for (const OptionRow& option : command.options) ZshOption(out, option);
    out << "\n      ;;\n";
  }
  out << "  esac\n" << kZshEnd;
  return out.str();
}

std::string FishCompletion(const OptionTable& table) {
  std::ostringstream out;
  out << kFishBegin;
  for (const OptionRow& option : table.program.options) FishOption(out, "__fish_use_subcommand", option);
  for (const CommandRow& command : table.commands) {
    out << "\ncomplete -c shardscout -n __fish_use_subcommand -a " << command.name << " -d "
        << FishText(Brief(command.description)) << "\n";
    for (const OptionRow& option : command.options) {
      FishOption(out, "__fish_seen_subcommand_from " + command.name, option);
    }
  }
  return out.str();
}

}  // namespace shardscout::cli
