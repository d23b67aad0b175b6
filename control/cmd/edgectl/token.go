package main

import (
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/control/api"
)

func (p *program) tokenCommand() *cli.Command {
	return &cli.Command{
		Name: "token", Aliases: []string{"tokens"}, Usage: "make and revoke tokens, of users and of what joins", Action: group,
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "make a token",
				Description: `Either one with which a node or a cluster joins, or one for a user of the API.
The secret is printed once and cannot be shown again.

   edgectl token create --join node --cluster garching
   edgectl token create --join cluster --ttl 24h
   edgectl token create --api alice`,
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "join", Usage: "for a `KIND` to join: node or cluster"},
					&cli.StringFlag{Name: "cluster", Usage: "the `CLUSTER` that nodes join with it; without it, any"},
					&cli.IntFlag{Name: "uses", Value: 1, Usage: "how often something may join with it; 0: any number of times"},
					&cli.StringFlag{Name: "api", Usage: "for the user or program called `NAME`"},
					&cli.StringFlag{Name: "role", Value: api.RoleAdmin, Usage: "what the user may do: `ROLE` admin"},
					&cli.DurationFlag{Name: "ttl", Usage: "how long it is good, like 30m; without it an hour for joining, and for ever for users"},
					outputFlag(),
				},
				Action: p.with(p.tokenCreate),
			},
			{Name: "ls", Aliases: []string{"list"}, Usage: "list tokens", Flags: []cli.Flag{outputFlag()}, Action: p.with(p.tokenLs)},
			{
				Name: "revoke", Usage: "make a token worthless", ArgsUsage: "ID",
				Description: `ID is what "edgectl token ls" shows, not the secret. What has joined with a
token stays.`,
				Action: p.with(p.tokenRevoke),
			},
		},
	}
}

func (p *program) tokenCreate(c *cli.Context, cl *api.Client) error {
	if err := none(c); err != nil {
		return err
	}
	kind, name, ttl := c.String("join"), c.String("api"), c.Duration("ttl")
	if (kind == "") == (name == "") {
		return badInput("which one: --join node, --join cluster, or --api NAME?")
	}
	if ttl < 0 || ttl > 0 && ttl < time.Second {
		return badInput("--ttl %s: want at least 1s", ttl)
	}
	if name != "" {
		return p.createAPIToken(c, cl, name, ttl)
	}
	if kind != api.JoinNode && kind != api.JoinCluster {
		return badInput("--join %s: want node or cluster", kind)
	}
	if c.Int("uses") < 0 {
		return badInput("--uses %d: want 0 or more", c.Int("uses"))
	}
	t, err := cl.CreateJoinToken(c.Context, api.NewJoinToken{
		Kind: kind, Cluster: c.String("cluster"), TTLSeconds: int64(ttl.Seconds()), Uses: new(c.Int("uses")),
	})
	if err != nil {
		return err
	}
	return p.show(c, t, func(w io.Writer) {
		fmt.Fprintln(w, t.Token)
		where := "HOST:PORT"
		if len(t.Addresses) > 0 {
			where = t.Addresses[0]
		}
		how := "edgeagent join " + where + " --token TOKEN"
		if kind == api.JoinCluster {
			how = "edgecontrol cluster --join " + where + " --token TOKEN"
		}
		fmt.Fprintf(p.stderr, "Good until %s (%s). To join: %s\n", t.ExpiresAt.Local().Format(time.DateTime), p.ago(t.ExpiresAt), clean(how))
	})
}

func (p *program) createAPIToken(c *cli.Context, cl *api.Client, name string, ttl time.Duration) error {
	if c.IsSet("cluster") || c.IsSet("uses") {
		return badInput("--cluster and --uses are for tokens that join")
	}
	t, err := cl.CreateAPIToken(c.Context, api.NewAPIToken{Name: name, Role: c.String("role"), TTLSeconds: int64(ttl.Seconds())})
	if err != nil {
		return err
	}
	return p.show(c, t, func(w io.Writer) { fmt.Fprintln(w, t.Token) })
}

func (p *program) tokenLs(c *cli.Context, cl *api.Client) error {
	if err := none(c); err != nil {
		return err
	}
	users, err := cl.APITokens(c.Context)
	if err != nil {
		return err
	}
	joins, err := cl.JoinTokens(c.Context)
	if err != nil {
		return err
	}
	all := struct {
		API  []api.APIToken  `json:"api"`
		Join []api.JoinToken `json:"join"`
	}{users, joins}
	return p.show(c, all, func(w io.Writer) {
		t := newTable(w, "ID", "FOR", "MADE", "EXPIRES", "USED")
		for _, u := range users {
			expires := "never"
			if !u.ExpiresAt.IsZero() {
				expires = p.ago(u.ExpiresAt)
			}
			t.row(u.ID, "user "+u.Name+" ("+u.Role+")", p.ago(u.CreatedAt), expires)
		}
		for _, j := range joins {
			t.row(j.ID, joinText(j), p.ago(j.CreatedAt), p.ago(j.ExpiresAt), usedText(j))
		}
		t.flush()
	})
}

func joinText(j api.JoinToken) string {
	if j.Cluster != "" {
		return "a " + j.Kind + " to join " + j.Cluster
	}
	return "a " + j.Kind + " to join"
}

func usedText(j api.JoinToken) string {
	if j.Uses == 0 {
		return fmt.Sprint(j.Used)
	}
	return fmt.Sprintf("%d of %d", j.Used, j.Uses)
}

func (p *program) tokenRevoke(c *cli.Context, cl *api.Client) error {
	id, err := one(c, "token")
	if err != nil {
		return err
	}
	err = cl.RevokeAPIToken(c.Context, id)
	if exitCode(err) == exitNotFound {
		err = cl.RevokeJoinToken(c.Context, id)
	}
	return err
}
