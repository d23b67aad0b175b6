// Command edgecontrol is the control plane of edgeIO: a root orchestrator, a
// cluster orchestrator, or, for trying it out, both and an agent on one machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

// version is set by the build.
var version = "dev"

// Exit codes, the same as edgectl's.
const (
	exitFailed   = 1
	exitBadInput = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := newApp(os.Stdout, os.Stderr).RunContext(ctx, os.Args)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "edgecontrol: %v\n", err)
	var bad *usageError
	if errors.As(err, &bad) {
		os.Exit(exitBadInput)
	}
	os.Exit(exitFailed)
}

// usageError is a command line or configuration that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func newApp(stdout, stderr io.Writer) *cli.App {
	misused := func(_ *cli.Context, err error, _ bool) error { return usage("%w; see --help", err) }
	app := &cli.App{
		Name:  "edgecontrol",
		Usage: "the orchestrators of edgeIO",
		Description: "A root takes jobs from users and chooses a cluster for each; a cluster chooses one\n" +
			"of its nodes. Try it all on this machine:  edgecontrol dev --data-dir /tmp/edgeio\n\n" +
			"For real: run \"edgecontrol root\" on a machine that the others can reach, then\n" +
			"\"edgecontrol cluster --join ROOT:7443 --token TOKEN\" where a cluster shall be, then\n" +
			"\"edgeagent join\" on each node. Tokens are made by \"edgectl token create\".",
		Writer: stdout, ErrWriter: stderr, Version: version, HideVersion: true,
		EnableBashCompletion: true, Suggest: true,
		ExitErrHandler: func(*cli.Context, error) {}, // main does
		OnUsageError:   misused,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("there is no command %q; see \"edgecontrol --help\"", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{rootCommand(), clusterCommand(), devCommand(), versionCommand(), completionCommand()},
	}
	for _, c := range app.Commands {
		c.OnUsageError = misused
	}
	return app
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "show the version",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintf(c.App.Writer, "edgecontrol %s\n", version)
			return err
		},
	}
}
