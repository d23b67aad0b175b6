package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/control/api"
)

// program is edgectl with what it needs of the world.
type program struct {
	stdin  *os.File
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
	now    func() time.Time
	// errTerminal is whether stderr is a terminal: where progress is shown.
	errTerminal bool
}

// run runs one command line and returns its exit code.
func (p *program) run(ctx context.Context, argv []string) int {
	app := p.app()
	if last := len(argv) - 1; last > 0 && argv[last] == completeFlag {
		p.complete(app, argv[1:last])
		return exitDone
	}
	err := app.RunContext(ctx, arrange(app, argv))
	if ctx.Err() != nil && err != nil {
		return exitFailed // the user ended it, and knows
	}
	if err != nil {
		if text := explain(err); text != "" {
			fmt.Fprintln(p.stderr, "edgectl: "+text)
		}
		return exitCode(err)
	}
	return exitDone
}

// app is the tree of commands.
func (p *program) app() *cli.App {
	app := &cli.App{
		Name:  "edgectl",
		Usage: "deploy jobs on edge devices and look after them",
		Description: `A job is a small YAML file. edgeIO finds a node for it, runs it there and
keeps it running:

   edgectl deploy --wait hello.yaml     deploy a job and wait until it runs
   edgectl job ls                       what is deployed, and in which state
   edgectl job logs -f hello            what it writes
   edgectl job explain hello            why it runs nowhere
   edgectl job terminate hello          end it

Exit codes: 0 done, 1 failed, 2 bad input, 3 not found, 4 the server does not
answer, 5 not allowed.

The server's address, its authority and your token come from the file that
"edgectl login" writes ($EDGECTL_CONFIG, else ~/.config/edgeio/edgectl.yaml),
from $EDGECTL_ADDRESS and $EDGECTL_TOKEN, or from the options below; the latter
are the stronger.`,
		Version:                version,
		HideVersion:            true, // there is a command
		UseShortOptionHandling: true,
		Suggest:                true,
		Reader:                 p.stdin,
		Writer:                 p.stdout,
		ErrWriter:              p.stderr,
		ExitErrHandler:         func(*cli.Context, error) {}, // run does it
		OnUsageError:           usageError,
		Action:                 group,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "read the configuration from `FILE`"},
			&cli.StringSliceFlag{Name: "address", Usage: "`HOST:PORT` of the server's API; several are tried in turn"},
			&cli.StringFlag{Name: "token", Usage: "API `TOKEN`; seen by others on this machine, so better in the environment"},
		},
		Commands: []*cli.Command{
			p.deployCommand(), p.validateCommand(), p.jobCommand(), p.nodeCommand(), p.clusterCommand(),
			p.eventsCommand(), p.tokenCommand(), p.loginCommand(), p.versionCommand(), p.completionCommand(),
		},
	}
	checkUsage(app.Commands)
	return app
}

// checkUsage gives commands at all levels the same answer to a wrong flag.
func checkUsage(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = usageError
		checkUsage(c.Subcommands)
	}
}

// group is the action of a command that has only subcommands.
func group(c *cli.Context) error {
	if c.Args().Present() {
		return badInput("there is no command %q here; see %s --help", c.Args().First(), c.Command.HelpName)
	}
	if c.Command != nil && len(c.Lineage()) > 2 {
		return cli.ShowSubcommandHelp(c)
	}
	return cli.ShowAppHelp(c)
}

func usageError(c *cli.Context, err error, _ bool) error {
	name := "edgectl"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return badInput("%v; see %s --help", err, name)
}

// connect makes a client of the configuration.
func (p *program) connect(c *cli.Context) (*api.Client, error) {
	conf, err := p.configuration(c)
	if err != nil {
		return nil, err
	}
	return api.New(api.Config{
		Addresses: conf.Address, AuthorityPEM: []byte(conf.Authority), Token: conf.Token, UserAgent: "edgectl/" + version,
	})
}

// with makes an action of a function that needs the server.
func (p *program) with(f func(*cli.Context, *api.Client) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		cl, err := p.connect(c)
		if err != nil {
			return err
		}
		defer cl.Close()
		return f(c, cl)
	}
}

// one returns the only argument of a command.
func one(c *cli.Context, what string) (string, error) {
	switch {
	case c.NArg() == 1 && c.Args().First() != "":
		return c.Args().First(), nil
	case c.NArg() > 1:
		return "", badInput("only one %s, please; got %d; see %s --help", what, c.NArg(), c.Command.HelpName)
	}
	return "", badInput("which %s? see %s --help", what, c.Command.HelpName)
}

// none returns an error if a command that takes no arguments got some.
func none(c *cli.Context) error {
	if c.NArg() > 0 {
		return badInput("%s takes no argument, but got %q", c.Command.HelpName, c.Args().First())
	}
	return nil
}

func (p *program) versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "show the version of edgectl and of the server",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "client", Usage: "do not ask the server"},
			outputFlag(),
		},
		Action: func(c *cli.Context) error {
			if err := none(c); err != nil {
				return err
			}
			out := struct {
				Client string       `json:"client"`
				Server *api.Version `json:"server,omitempty"`
			}{Client: version}
			if !c.Bool("client") {
				if err := p.with(func(c *cli.Context, cl *api.Client) error {
					v, err := cl.Version(c.Context)
					out.Server = &v
					return err
				})(c); err != nil {
					return err
				}
			}
			return p.show(c, out, func(w io.Writer) {
				fmt.Fprintln(w, "edgectl", out.Client)
				if out.Server != nil {
					fmt.Fprintln(w, "server ", out.Server.Version, out.Server.Tier, out.Server.Name)
				}
			})
		},
	}
}
