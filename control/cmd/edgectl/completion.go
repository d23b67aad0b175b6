package main

import (
	"embed"
	"slices"

	"github.com/urfave/cli/v2"
)

//go:embed completion
var completions embed.FS

func (p *program) completionCommand() *cli.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cli.Command{
		Name: "completion", Usage: "print the completion script of a shell", ArgsUsage: "bash|zsh|fish",
		Description: `   bash: source <(edgectl completion bash)
   zsh:  source <(edgectl completion zsh)
   fish: edgectl completion fish | source`,
		Action: func(c *cli.Context) error {
			shell, err := one(c, "shell")
			if err != nil {
				return err
			}
			if !slices.Contains(shells, shell) {
				return badInput("shell %q: want one of %v", shell, shells)
			}
			b, err := completions.ReadFile("completion/edgectl." + shell)
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(b)
			return err
		},
	}
}
