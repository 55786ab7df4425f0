package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	orders = "ORDERS"
	dead   = "ORDERS_DEAD"
	worker = "worker" // all processes with this name share the work
)

// streams sets up the queue and the stream of its dead letters, unless they are there,
// and returns what to pull from.
func streams(ctx context.Context, js jetstream.JetStream, ackWait time.Duration) (jetstream.Consumer, error) {
	_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:      orders,
		Subjects:  []string{"orders.>"},
		Retention: jetstream.WorkQueuePolicy, // what is acknowledged is gone
	})
	if err != nil {
		return nil, err
	}
	_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:     dead,
		Subjects: []string{deadPrefix + "orders.>"},
		MaxAge:   30 * 24 * time.Hour, // for somebody to look
	})
	if err != nil {
		return nil, err
	}
	return js.CreateOrUpdateConsumer(ctx, orders, jetstream.ConsumerConfig{
		Durable:   worker,
		AckPolicy: jetstream.AckExplicitPolicy,
		AckWait:   ackWait,
		// The broker would deliver no more and say nothing: who counts here also writes
		// the dead letter.
		MaxDeliver: -1,
		// What waits to be tried again counts as delivered. At the default of 1,000 so
		// many failures would hold up everybody else.
		MaxAckPending: 100_000,
	})
}
