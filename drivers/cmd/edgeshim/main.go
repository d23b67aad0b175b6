// Command edgeshim keeps one workload of the native driver alive while agents
// come and go. It starts the workload's process, writes its output to a log,
// and when it has ended, ends all that it has left running and notes how.
//
// People do not call it; the agent does:
//
//	edgeshim run DIR NUMBER   DIR/launch says what to run (package shim); NUMBER counts the runs.
//	                          File descriptor 3 gets one line: "ok" or "errno N TEXT";
//	                          4 is DIR, locked, so that it is run once at a time.
//	edgeshim exec DIR         Becomes a further command in that workload: records "arg" and
//	                          "env" come on file descriptor 3, ended by its closing.
//
// While it runs it listens on DIR/sock, for its own user only. A client sends
// lines and gets one line for each:
//
//	status     "running PID"
//	signal N   "ok", or "ended"; the signal goes to the workload's first process
//	kill       "ok", or "ended"; all of the workload's processes end
//
// The connection is closed when the workload has ended and DIR/exit says how:
// to wait, connect and read to the end.
//
// There is one edgeshim per workload, so it must stay tiny: standard library
// only, without package net, one loop over epoll.
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

// version is set by the linker.
var version = "dev"

const usage = `edgeshim keeps one workload alive while the edgeIO agent restarts.
The agent starts it by itself; there is no need to call it.

  edgeshim run DIR NUMBER   run the workload described in DIR
  edgeshim exec DIR         run a further command in it
  edgeshim --version        print the version
  edgeshim --help           print this
`

func main() {
	// Control groups of version 1 are entered by this thread alone, and the
	// workload dies with the thread that started it (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	os.Exit(command(os.Args[1:]))
}

func command(args []string) int {
	switch {
	case len(args) == 3 && args[0] == "run":
		number, err := strconv.Atoi(args[2])
		if err != nil {
			break
		}
		debug.SetGCPercent(10)
		return run(args[1], number)
	case len(args) == 2 && args[0] == "exec":
		return enter(args[1])
	case len(args) == 1 && args[0] == "--version":
		os.Stdout.WriteString("edgeshim " + version + "\n")
		return 0
	case len(args) == 1 && (args[0] == "--help" || args[0] == "-h"):
		os.Stdout.WriteString(usage)
		return 0
	}
	os.Stderr.WriteString(usage)
	return 2
}
