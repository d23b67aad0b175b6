package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/edgeio/edgeio/control/api"
)

func (p *program) loginCommand() *cli.Command {
	return &cli.Command{
		Name: "login", Usage: "remember a server and a token", ArgsUsage: "HOST:PORT",
		Description: `Checks that the server answers and takes the token, and writes the
configuration file. The token is read from standard input unless it is given.
The server's certificate must come from the authority in --authority, or from
the one whose public key has the SHA-256 --pin; without both, from one that this
system trusts.

   edgectl login root.example:8443 --authority authority.pem < token
   edgectl login root.example:8443 --pin 3f5a…`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "authority", Usage: "certificates of the authority, PEM, in `FILE`"},
			&cli.StringFlag{Name: "pin", Usage: "SHA-256 of the authority's public key, `HEX`"},
		},
		Action: p.login,
	}
}

func (p *program) login(c *cli.Context) error {
	address, err := one(c, "server (HOST:PORT)")
	if err != nil {
		return err
	}
	path, _, err := p.configPath(c)
	if err != nil {
		return err
	}
	conf := config{Address: addresses{address}}
	if conf.Authority, err = authority(c, address); err != nil {
		return err
	}
	if conf.Token, err = p.token(c); err != nil {
		return err
	}
	cl, err := api.New(api.Config{Addresses: conf.Address, AuthorityPEM: []byte(conf.Authority), Token: conf.Token, UserAgent: "edgectl/" + version})
	if err != nil {
		return err
	}
	defer cl.Close()
	v, err := cl.Version(c.Context)
	if err != nil {
		return err
	}
	if err := writeConfig(path, conf); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s runs edgeIO %s; written to %s\n", address, clean(v.Version), path)
	return nil
}

// token is the one that was given, or the first line of standard input.
func (p *program) token(c *cli.Context) (string, error) {
	if t := c.String("token"); t != "" {
		return t, nil
	}
	if t := p.getenv("EDGECTL_TOKEN"); t != "" {
		return t, nil
	}
	var line string
	if fd := int(p.stdin.Fd()); term.IsTerminal(fd) {
		fmt.Fprint(p.stderr, "API token: ")
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(p.stderr)
		if err != nil {
			return "", failed("read the token: %v", err)
		}
		line = string(b)
	} else {
		var err error
		if line, err = bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n'); err != nil && err != io.EOF {
			return "", failed("read the token: %v", err)
		}
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", badInput("no token: write it to standard input, or set EDGECTL_TOKEN")
	}
	return line, nil
}

// authority returns the certificates that are to be trusted, PEM.
func authority(c *cli.Context, address string) (string, error) {
	file, pin := c.String("authority"), c.String("pin")
	switch {
	case file != "" && pin != "":
		return "", badInput("either --authority or --pin, please")
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return "", badInput("read the authority: %v", err)
		}
		return string(b), nil
	case pin != "":
		return pinned(c.Context, address, pin)
	}
	return "", nil
}

// pinned fetches the authority's certificate from the server, and trusts it
// for the pin only. Whether the server's own certificate comes from it is
// checked at the first request.
func pinned(ctx context.Context, address, pin string) (string, error) {
	want, err := hex.DecodeString(strings.TrimPrefix(strings.ReplaceAll(pin, ":", ""), "sha256"))
	if err != nil || len(want) != sha256.Size {
		return "", badInput("--pin: want the SHA-256 of a public key, 64 hex digits")
	}
	address = strings.TrimSuffix(strings.TrimPrefix(address, "https://"), "/")
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 10 * time.Second},
		// The certificate is not verified here, for its authority is what this
		// is to find out; nothing is sent on the connection.
		Config: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true},
	}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", api.ErrUnavailable, address, err)
	}
	defer conn.Close()
	tc, ok := conn.(*tls.Conn)
	if !ok {
		return "", errors.New("not a TLS connection")
	}
	for _, cert := range tc.ConnectionState().PeerCertificates {
		if pinOf(cert) == hex.EncodeToString(want) {
			return encode(cert), nil
		}
	}
	return "", codeError{exitNotAllowed, fmt.Sprintf("%s does not belong to the authority that is pinned: wrong pin, or not the server you mean", address)}
}

// pinOf is the SHA-256 of a certificate's public key (SPKI), hex.
func pinOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func encode(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}
