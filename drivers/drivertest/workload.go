package drivertest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind names what a workload does, for harnesses without a shell.
type Kind string

// The kinds. Those that "wait" print "ready\n" to standard output first.
const (
	Exit         Kind = "exit"          // ends at once with code N
	Lines        Kind = "lines"         // prints "line 1\n" … "line N\n", then ends with 0
	Text         Kind = "text"          // prints Text exactly, then ends with 0
	Fill         Kind = "fill"          // prints N times "x" without a newline, then ends with 0
	Streams      Kind = "streams"       // for i in 1…N: "out i\n" to stdout, "err i\n" to stderr; then ends with 0
	Wait         Kind = "wait"          // waits; ends with 143 on SIGTERM
	WaitStubborn Kind = "wait-stubborn" // waits; ignores SIGTERM
	WaitPolite   Kind = "wait-polite"   // waits; prints "bye\n" and ends with 7 on SIGTERM, with 8 on SIGUSR1
	WaitShort    Kind = "wait-short"    // prints "ready\n", waits N seconds, prints "done\n", ends with 5
	Ticks        Kind = "ticks"         // prints "tick 1\n", "tick 2\n", … ten times a second; ends with 143 on SIGTERM
	Arguments    Kind = "arguments"     // prints each of Args, and then each value of Env by name's order, "\n--\n" after each
	Workdir      Kind = "workdir"       // prints its work directory
	UserID       Kind = "user-id"       // prints "uid:gid\n"
	Device       Kind = "device"        // prints how many of 4 bytes it could read of the file Text, and "\n"
	Listen       Kind = "listen"        // waits; says "hello\n" to each TCP connection to port N
	Tree         Kind = "tree"          // waits as Wait, with descendants in sessions of their own that carry Marker in their arguments and ignore SIGTERM
	TreeExit     Kind = "tree-exit"     // starts the same descendants, prints "ready\n" and ends with 3
	Spin         Kind = "spin"          // waits as Wait, using as much of a core as it gets
	Eat          Kind = "eat"           // prints "ready\n", allocates memory without end
	Fork         Kind = "fork"          // starts N processes that wait; then prints "all started\n" and waits
)

// Workload is what the suite wants a runtime to do.
type Workload struct {
	Kind   Kind
	N      int
	Text   string
	Marker string // found in the command line of descendants
	Args   []string
	Env    map[string]string
}

// Shell returns a command and arguments that do the workload with /bin/sh and
// the usual commands (busybox has all of them).
func (w Workload) Shell() (command, args []string) {
	return []string{"/bin/sh", "-c", w.script(), "sh"}, w.Args
}

// rest waits for signals. The shell runs a trap only between commands, so it
// waits for a background sleep rather than sleeping itself.
const rest = "while :; do sleep 1000 & wait $!; done"

// descend starts a daemon and that daemon's child.
const descend = `setsid sh -c 'trap "" TERM; sh -c "while :; do sleep 1000; done" "$0" & while :; do sleep 1000; done' %s >/dev/null 2>&1 &`

func (w Workload) script() string {
	switch w.Kind {
	case Exit:
		return fmt.Sprintf("exit %d", w.N)
	case Lines:
		return fmt.Sprintf("i=1; while [ $i -le %d ]; do echo line $i; i=$((i+1)); done", w.N)
	case Text:
		return "printf '" + octal(w.Text) + "'"
	case Fill:
		return fmt.Sprintf("head -c %d /dev/zero | tr '\\000' x", w.N)
	case Streams:
		return fmt.Sprintf("i=1; while [ $i -le %d ]; do echo out $i; echo err $i >&2; i=$((i+1)); done", w.N)
	case Wait:
		return "trap 'exit 143' TERM; echo ready; " + rest
	case WaitStubborn:
		return "trap '' TERM; echo ready; " + rest
	case WaitPolite:
		return "trap 'echo bye; exit 7' TERM; trap 'exit 8' USR1; echo ready; " + rest
	case WaitShort:
		return fmt.Sprintf("echo ready; sleep %d; echo done; exit 5", w.N)
	case Ticks:
		return "trap 'exit 143' TERM; i=1; while :; do echo tick $i; i=$((i+1)); sleep 0.1; done"
	case Arguments:
		return w.argumentsScript()
	case Workdir:
		return "pwd"
	case UserID:
		return `echo "$(id -u):$(id -g)"`
	case Device:
		return fmt.Sprintf("head -c 4 %s 2>/dev/null | wc -c", w.Text)
	case Listen:
		return fmt.Sprintf("trap 'exit 143' TERM; echo ready; while :; do echo hello | busybox nc -l -p %d; done & wait $!", w.N)
	case Tree:
		return "trap 'exit 143' TERM; " + fmt.Sprintf(descend, w.Marker) + " echo ready; " + rest
	case TreeExit:
		return fmt.Sprintf(descend, w.Marker) + " echo ready; exit 3"
	case Spin:
		return "trap 'exit 143' TERM; echo ready; while :; do :; done"
	case Eat:
		return "echo ready; x=0123456789abcdef; while :; do x=$x$x; done"
	case Fork:
		return fmt.Sprintf("i=0; while [ $i -lt %d ]; do sleep 1000 & i=$((i+1)); done; trap 'exit 143' TERM; echo all started; %s", w.N, rest)
	}
	panic("drivertest: no script for " + string(w.Kind))
}

func (w Workload) argumentsScript() string {
	var b strings.Builder
	b.WriteString(`for a in "$@"; do printf '%s\n--\n' "$a"; done`)
	for _, name := range slices.Sorted(maps.Keys(w.Env)) {
		fmt.Fprintf(&b, `; printf '%%s\n--\n' "$%s"`, name)
	}
	return b.String()
}

// octal writes s as printf(1) escapes.
func octal(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\%03o`, s[i])
	}
	return b.String()
}
