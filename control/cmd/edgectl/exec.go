package main

import (
	"context"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/edgeio/edgeio/control/api"
)

func (p *program) execCommand() *cli.Command {
	return &cli.Command{
		Name: "exec", Usage: "run a further command in a job", ArgsUsage: "JOB -- COMMAND [ARGUMENT…]",
		Description: `The exit code is that of the command.

   edgectl job exec hello -- ps
   edgectl job exec -it hello -- sh
   echo hi | edgectl job exec -i hello -- cat`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "pass standard input on to the command"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give the command a terminal"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME=VALUE` in the command's environment; may be repeated"},
			&cli.StringFlag{Name: "instance", Usage: "which `INSTANCE`, if there are several: its id or index"},
		},
		Action: p.with(p.exec),
	}
}

func (p *program) exec(c *cli.Context, cl *api.Client) error {
	args := c.Args().Slice()
	if len(args) < 2 {
		return badInput("which job, and which command? For example: edgectl job exec hello -- ps")
	}
	ref, command := args[0], args[1:]
	if command[0] == "--" {
		command = command[1:]
	}
	r := api.ExecRequest{
		ExecStart: api.ExecStart{Command: command, TTY: c.Bool("tty"), Env: map[string]string{}},
		Instance:  c.String("instance"), Stdout: p.stdout, Stderr: p.stderr,
	}
	for _, e := range c.StringSlice("env") {
		name, value, ok := strings.Cut(e, "=")
		if !ok || name == "" {
			return badInput("--env %s: want NAME=VALUE", e)
		}
		r.Env[name] = value
	}
	if c.Bool("interactive") {
		r.Stdin = p.stdin
	}
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	if r.TTY {
		restore, err := p.rawTerminal(ctx, &r)
		if err != nil {
			return err
		}
		defer restore()
	}
	code, err := cl.Exec(ctx, ref, r)
	if err == nil && code != 0 {
		return codeError{code: code}
	}
	return err
}

// rawTerminal gives the user's terminal to the command: keys go there as they
// are, and changes of its size are told. Without a terminal only the command
// has one. restore undoes it.
func (p *program) rawTerminal(ctx context.Context, r *api.ExecRequest) (restore func(), err error) {
	fd := int(p.stdin.Fd())
	if !term.IsTerminal(fd) {
		return func() {}, nil
	}
	r.Size = terminalSize(p.stdin)
	r.Resize = resizes(ctx, p.stdin)
	if r.Stdin == nil {
		return func() {}, nil
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, failed("make the terminal raw: %v", err)
	}
	return func() { _ = term.Restore(fd, old) }, nil // at the end there is nobody to tell
}

// terminalSize is zero if it is not known.
func terminalSize(f *os.File) api.TermSize {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w < 0 || h < 0 {
		return api.TermSize{}
	}
	return api.TermSize{Columns: uint32(w), Rows: uint32(h)}
}
