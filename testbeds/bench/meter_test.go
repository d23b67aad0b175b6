package main

import (
	"net"
	"testing"
	"time"
)

// TestMeter sends through the meter from two clients to a server that answers
// with twice as much.
func TestMeter(t *testing.T) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		buf := make([]byte, 100)
		for {
			n, from, err := server.ReadFromUDP(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDP(append(buf[:n:n], buf[:n]...), from)
		}
	}()
	defer func() { _ = server.Close(); <-echoed }()

	var m meter
	front, err := m.open(server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	for _, text := range []string{"one", "three"} {
		c, err := net.Dial("udp4", front)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:n]); got != text+text {
			t.Errorf("answer to %q is %q", text, got)
		}
	}
	if up, want := m.up.load(), (traffic{2, 8}); up != want {
		t.Errorf("up: %+v, want %+v", up, want)
	}
	if down, want := m.down.load(), (traffic{2, 16}); down != want {
		t.Errorf("down: %+v, want %+v", down, want)
	}
	if got := m.down.load().bytes(); got != 16+2*28 {
		t.Errorf("down: %d bytes with headers", got)
	}
}
