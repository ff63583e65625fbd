#ifndef FOOTLIGHT_SERVER_COMMAND_H
#define FOOTLIGHT_SERVER_COMMAND_H
#include "server/config.h"

/// `footlight NAME …`: runs lua/commands/NAME.lua in a process of its own, with MariaDB, Redis and
/// billing at hand. The exit code is what its `run` returns (see lua/footlight/command.lua).
/// False in *known if there is no such command.
int command_run(struct config *config, const char *name, char **arguments, int count, bool *known);
/// `footlight help`: the commands, one line each, with the summary that each file states. Reads the
/// files as text, so that a command that does not load is listed too.
void command_list(const struct config *config);
#endif
