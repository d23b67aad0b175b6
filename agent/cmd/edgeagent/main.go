// Command edgeagent is the worker of edgeIO: it joins a node to a cluster and
// runs jobs on it. This package has its commands, and is the only one that
// names concrete drivers.
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

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/agent/node"
	"github.com/edgeio/edgeio/agent/store"
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
	app := newApp(os.Stdout, os.Stderr)
	err := app.RunContext(ctx, arrange(app.Commands, os.Args))
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "edgeagent: %v\n", err)
		os.Exit(exitCode(err))
	}
}

func exitCode(err error) int {
	var invalid *config.Error
	var usage *usageError
	switch {
	case errors.As(err, &invalid), errors.As(err, &usage), errors.Is(err, node.ErrNotJoined), errors.Is(err, store.ErrInUse):
		return exitBadInput
	}
	return exitFailed
}

// usageError is a command line that cannot be understood.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

func misused(_ *cli.Context, err error, _ bool) error { return usage("%v; see --help", err) }

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                 "edgeagent",
		Usage:                "run jobs of an edgeIO cluster on this machine",
		Description:          "Begin with \"edgeagent join\", then \"edgeagent run\". A token for joining is made by\n\"edgectl token create\". \"edgeagent drivers list\" shows what this machine can run.",
		Writer:               stdout,
		ErrWriter:            stderr,
		Version:              version,
		HideVersion:          true,
		EnableBashCompletion: true,
		Suggest:              true,
		ExitErrHandler:       func(*cli.Context, error) {}, // main does
		OnUsageError:         misused,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("there is no command %q; see \"edgeagent --help\"", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			runCommand(), joinCommand(), leaveCommand(), driversCommand(), capabilitiesCommand(), doctorCommand(),
			workloadsCommand(), imageCommand(), versionCommand(), completionCommand(),
		},
	}
	for _, c := range app.Commands {
		c.OnUsageError = misused
		for _, sub := range c.Subcommands {
			sub.OnUsageError = misused
		}
	}
	return app
}

// settings are the flags that stand for settings of the configuration. All
// commands that read it have them.
func settings() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "configuration `FILE`", Value: config.DefaultFile, EnvVars: []string{"EDGEAGENT_CONFIG"}},
		&cli.StringFlag{Name: "name", Usage: "`NAME` of the node, for people"},
		&cli.StringFlag{Name: "state-dir", Usage: "`DIR` for identity, assignments and images"},
		&cli.StringSliceFlag{Name: "parent", Usage: "`ADDRESS` of a parent, host:port; may be repeated"},
		&cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE` of the node; may be repeated"},
		&cli.StringFlag{Name: "log-level", Usage: "`LEVEL`: debug, info, warn or error"},
		&cli.StringFlag{Name: "log-format", Usage: "`FORMAT`: text or json"},
		&cli.DurationFlag{Name: "usage-interval", Usage: "time between usage samples", DefaultText: "15s"},
		&cli.StringFlag{Name: "shim", Usage: "`PATH` of edgeshim"},
		&cli.StringFlag{Name: "docker-host", Usage: "`ADDRESS` of the Docker daemon"},
	}
}

// load puts the configuration together: file, then environment, then flags.
func load(c *cli.Context) (config.Config, error) {
	cfg, err := config.Load(c.String("config"), os.Environ())
	if err != nil {
		return cfg, err
	}
	text := map[string]*string{
		"name": &cfg.Name, "state-dir": &cfg.StateDir, "log-level": &cfg.Log.Level, "log-format": &cfg.Log.Format,
		"shim": &cfg.Drivers.Native.Shim, "docker-host": &cfg.Drivers.Docker.Host,
	}
	for flag, field := range text {
		if c.IsSet(flag) {
			*field = c.String(flag)
		}
	}
	if c.IsSet("usage-interval") {
		cfg.UsageInterval = c.Duration("usage-interval")
	}
	if c.IsSet("parent") {
		cfg.Parents = c.StringSlice("parent")
	}
	if c.IsSet("label") {
		if cfg.Labels, err = config.ParseLabels(c.StringSlice("label")); err != nil {
			return cfg, usage("--label %v", err)
		}
	}
	return cfg, cfg.Validate()
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "show the version",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintf(c.App.Writer, "edgeagent %s\n", version)
			return err
		},
	}
}
