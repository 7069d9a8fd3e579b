#include "src/cli/man_page.h"

#include <algorithm>
#include <sstream>
#include <vector>

namespace shardscout::cli {
namespace {

/// Text that troff takes for itself nowhere: backslashes and hyphens, and dots and quotes that begin a line.
std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if ((c == '.' || c == '\'') && (escaped.empty() || escaped.back() == '\n')) escaped += "\\&";
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

/// "\fB--model\fR, \fB-m\fR \fIMODEL\fR".
std::string Heading(const OptionRow& option) {
  std::string text;
  for (const std::string& name : option.names) {
    if (!text.empty()) text += ", ";
    text += (option.by_place ? "\\fI" : "\\fB") + Escaped(name) + "\\fR";
  }
  if (!option.by_place && !option.takes.empty()) text += " \\fI" + Escaped(option.takes) + "\\fR";
  return text;
}

std::string Sentence(const std::string& text) { return text.empty() || text.ends_with('.') ? text : text + "."; }

void Describe(std::ostream& out, const OptionRow& option) {
  out << ".TP\n" << Heading(option) << "\n" << Escaped(Sentence(option.description));
  if (!option.choices.empty()) {
    std::string choices;
    for (const std::string& choice : option.choices) choices += (choices.empty() ? "" : ", ") + choice;
    out << "\nOne of " << Escaped(choices) << ".";
  }
  if (!option.allowed.empty()) out << "\n" << Escaped(Sentence(option.allowed));
  if (!option.default_value.empty()) out << "\nDefault: " << Escaped(Sentence(option.default_value));
  if (option.repeatable) out << "\nRepeatable.";
  if (option.required) out << "\nNeeded.";
  out << "\n";
}

void Footer(std::ostream& out, const std::string& footer) {
  std::istringstream lines(footer);
  bool literal = false;
  for (std::string line; std::getline(lines, line);) {
    const bool indented = line.starts_with("  ");
    if (indented != literal) out << (indented ? ".PP\n.nf\n" : ".fi\n");
    literal = indented;
    if (line.empty()) {
      out << ".PP\n";
    } else {
      out << Escaped(line) << "\n";
    }
  }
  if (literal) out << ".fi\n";
}

/// Options that more than one command has, alike in everything, in the order in which they are met.
std::vector<OptionRow> SharedOptions(const OptionTable& table) {
  std::vector<OptionRow> seen, shared;
  const auto holds = [](const std::vector<OptionRow>& rows, const OptionRow& row) {
    return std::find(rows.begin(), rows.end(), row) != rows.end();
  };
  for (const CommandRow& command : table.commands) {
    for (const OptionRow& option : command.options) {
      if (option.by_place) continue;
      if (!holds(seen, option)) {
        seen.push_back(option);
      } else if (!holds(shared, option)) {
        shared.push_back(option);
      }
    }
  }
  return shared;
}

void Synopsis(std::ostream& out, const CommandRow& command) {
  out << ".B shardscout " << Escaped(command.name) << "\n";
  for (const OptionRow& option : command.options) {
    if (!option.by_place) continue;
    const std::string dots = option.repeatable ? " ..." : "";
    out << (option.required ? "\\fI" : "[\\fI") << Escaped(option.names.front()) << "\\fR"
        << (option.required ? "" : "]") << dots << "\n";
  }
  out << "[\\fIoptions\\fR]\n.br\n";
}

void Command(std::ostream& out, const CommandRow& command, const std::vector<OptionRow>& shared) {
  out << ".SS shardscout " << Escaped(command.name) << "\n" << Escaped(Sentence(command.description)) << "\n";
  std::string named;
  for (const OptionRow& option : command.options) {
    if (std::find(shared.begin(), shared.end(), option) == shared.end()) {
      Describe(out, option);
    } else {
      named += (named.empty() ? "" : ", ") + ("\\fB" + Escaped(option.names.front()) + "\\fR");
    }
  }
  if (!named.empty()) out << ".PP\nShared options (described below): " << named << ".\n";
  if (!command.footer.empty()) {
    out << ".PP\n";
    Footer(out, command.footer);
  }
}

}  // namespace

std::string ManPage(const OptionTable& table, std::string_view version) {
  const std::vector<OptionRow> shared = SharedOptions(table);
  std::ostringstream out;
  out << ".\\\" Written by \"shardscout man\" from the program's own options.\n"
      << ".TH SHARDSCOUT 1 \"\" \"shardscout " << version << "\" \"User Commands\"\n"
      << ".SH NAME\nshardscout \\- " << Escaped(table.program.description) << "\n.SH SYNOPSIS\n";
  for (const CommandRow& command : table.commands) Synopsis(out, command);
  out << ".SH DESCRIPTION\nResults go to standard output, the log and progress to standard error.\n";
  for (const OptionRow& option : table.program.options) Describe(out, option);
  out << ".SH COMMANDS\n";
  for (const CommandRow& command : table.commands) Command(out, command, shared);
  out << ".SH SHARED OPTIONS\n";
  std::vector<std::string> groups;
  for (const OptionRow& option : shared) {
    if (std::find(groups.begin(), groups.end(), option.group) == groups.end()) groups.push_back(option.group);
  }
  for (const std::string& group : groups) {
    out << ".SS " << Escaped(group) << "\n";
    for (const OptionRow& option : shared) {
      if (option.group == group) Describe(out, option);
    }
  }
  out << ".SH EXIT STATUS, ENVIRONMENT, EXAMPLE\n";
  Footer(out, table.program.footer);
  return out.str();
}

}  // namespace shardscout::cli
