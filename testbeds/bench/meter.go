package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// meter passes datagrams between clients and one server, and counts them.
type meter struct {
	up, down counter

	front *net.UDPConn
	work  sync.WaitGroup
	backs map[netip.AddrPort]*net.UDPConn // by client; only forward uses it until that has ended
}

// open begins to pass on what comes for the server, and returns where to send it.
func (m *meter) open(server string) (string, error) {
	to, err := netip.ParseAddrPort(server)
	if err != nil {
		return "", fmt.Errorf("address of the cluster: %w", err)
	}
	m.front, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", fmt.Errorf("open the meter: %w", err)
	}
	m.backs = map[netip.AddrPort]*net.UDPConn{}
	m.work.Go(func() { m.forward(to) })
	return m.front.LocalAddr().String(), nil
}

// forward passes on what clients send, until the meter is closed.
func (m *meter) forward(server netip.AddrPort) {
	defer func() {
		for _, back := range m.backs {
			_ = back.Close()
		}
	}()
	buf := make([]byte, 1<<16)
	for {
		n, client, err := m.front.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // a client has gone away
		}
		back := m.backs[client]
		if back == nil {
			if back, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(server)); err != nil {
				continue // a lost datagram is sent again
			}
			m.backs[client] = back
			m.work.Go(func() { m.backward(back, client) })
		}
		m.up.add(n)
		_, _ = back.Write(buf[:n])
	}
}

func (m *meter) backward(back *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, 1<<16)
	for {
		n, err := back.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the server has gone away
		}
		m.down.add(n)
		_, _ = m.front.WriteToUDPAddrPort(buf[:n], client)
	}
}

func (m *meter) close() {
	if m.front != nil {
		_ = m.front.Close()
	}
	m.work.Wait()
}

// traffic is what went in one direction.
type traffic struct{ packets, payload int }

// headers are the bytes of the IPv4 and UDP headers of a datagram.
const headers = 20 + 8

func (t traffic) bytes() int { return t.payload + headers*t.packets }

func (t traffic) minus(o traffic) traffic {
	return traffic{t.packets - o.packets, t.payload - o.payload}
}

// counter counts traffic.
type counter struct {
	mu sync.Mutex
	t  traffic
}

func (c *counter) add(payload int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.packets++
	c.t.payload += payload
}

func (c *counter) load() traffic {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}
