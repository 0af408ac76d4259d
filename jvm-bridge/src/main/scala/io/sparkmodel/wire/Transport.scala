// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.{Closeable, IOException}
import java.net.{InetSocketAddress, SocketOption, SocketTimeoutException, StandardSocketOptions, UnknownHostException}
import java.nio.ByteBuffer
import java.nio.channels.{ClosedSelectorException, SelectionKey, Selector, SocketChannel}

import jdk.net.ExtendedSocketOptions

/** A byte stream to another program, never blocking but in `await`. For one thread at a time, but for `close`. */
private[wire] trait Transport extends Closeable {

  /** Read what is there: the number of bytes, 0 if there is nothing now, -1 at the end. */
  def read(target: ByteBuffer): Int

  /** Write what fits now; true once all of it has left. */
  def write(sources: Array[ByteBuffer]): Boolean

  /** Wait until what the last call lacked may go on; false if it does not within the time. */
  def await(millis: Long): Boolean
}

/**
 * How long a caller waits: for any sign of life, in all, and as long as its watch does not throw.
 *
 * @param stalledNs how long the other side may take nothing of what is written
 * @param doubt what is done each time that there was no sign of life for so many nanoseconds, with the number of times in a
 *   row; it may throw to give up
 */
private[wire] final class Patience(
    watch: Watch,
    silenceNs: Long,
    deadlineNs: Option[Long] = None,
    stalledNs: Long = Long.MaxValue,
    doubt: Option[(Long, Int => Unit)] = None) {

  /** The same, but no longer than some time from now on in all. */
  def within(nanos: Long): Patience = {
    val until = System.nanoTime + nanos
    new Patience(watch, silenceNs, Some(deadlineNs.fold(until)(deadline => if (deadline - until < 0) deadline else until)))
  }

  /** Wait until a transport can go on. */
  def pause(transport: Transport): Unit = pause(transport, silenceNs)

  /** Wait until the other side takes more. */
  def pauseToWrite(transport: Transport): Unit = pause(transport, math.min(silenceNs, stalledNs))

  private def pause(transport: Transport, mostNs: Long): Unit = {
    val now = System.nanoTime
    val leftNs = deadlineNs.fold(mostNs)(deadline => math.min(mostNs, deadline - now))
    val doubtNs = doubt.fold(Long.MaxValue)(_._1)
    var doubts = 0
    var nextNs = doubtNs
    while (!transport.await(Patience.slice(math.min(leftNs, nextNs) - (System.nanoTime - now)))) {
      Patience.look(watch)
      val waitedNs = System.nanoTime - now
      if (waitedNs >= leftNs) throw new SocketTimeoutException("no sign of life within the time")
      if (waitedNs >= nextNs) {
        doubts += 1
        nextNs += doubtNs
        doubt.foreach(_._2(doubts))
      }
    }
  }
}

private[wire] object Patience {
  val SliceMs = 200L

  /** Sleep, but for the watch and for interruption. */
  def sleep(nanos: Long, watch: Watch): Unit = {
    val started = System.nanoTime
    look(watch)
    while (System.nanoTime - started < nanos) {
      try Thread.sleep(slice(nanos - (System.nanoTime - started)))
      catch { case _: InterruptedException => Thread.currentThread.interrupt() }
      look(watch)
    }
  }

  private def slice(nanos: Long): Long = math.max(1, math.min(SliceMs, (nanos + 999999) / 1000000))

  /** Throw if the caller gives up. */
  def look(watch: Watch): Unit = {
    watch.check() // first: it knows why the thread was interrupted
    if (Thread.interrupted()) throw new InterruptedException("interrupted while waiting for a worker")
  }
}

/** Plain TCP. */
private[wire] final class PlainTransport private (channel: SocketChannel) extends Transport {
  // one selector for each connection: it costs two more file descriptors, and a wait is then one system call
  private val selector = Selector.open()
  private val key = channel.register(selector, SelectionKey.OP_CONNECT)
  private var lacking = SelectionKey.OP_CONNECT

  override def read(target: ByteBuffer): Int = {
    lacking = SelectionKey.OP_READ
    channel.read(target)
  }

  override def write(sources: Array[ByteBuffer]): Boolean = {
    lacking = SelectionKey.OP_WRITE
    var at = 0
    var isFull = false
    while (at < sources.length && !isFull) {
      if (!sources(at).hasRemaining) at += 1
      // less than all says that the socket's buffer is full, or that there are more buffers than one call takes
      else isFull = channel.write(sources, at, sources.length - at) == 0
    }
    !isFull
  }

  override def await(millis: Long): Boolean =
    try {
      if (key.interestOps != lacking) key.interestOps(lacking)
      val isReady = selector.select(millis) > 0
      selector.selectedKeys.clear()
      isReady
    } catch {
      case e @ (_: ClosedSelectorException | _: java.nio.channels.CancelledKeyException) =>
        throw new IOException("the connection was closed by another thread", e)
    }

  override def close(): Unit =
    try channel.close()
    finally selector.close() // only this lets go of the socket: its key holds it until the next select
}

private[wire] object PlainTransport {

  /** Let the system find out within 5 s that a host has gone dark. */
  private def keepAlive(channel: SocketChannel): Unit = {
    channel.setOption[java.lang.Boolean](StandardSocketOptions.SO_KEEPALIVE, true)
    def set(option: SocketOption[Integer], value: Int): Unit =
      if (channel.supportedOptions.contains(option)) channel.setOption[Integer](option, value)
    set(ExtendedSocketOptions.TCP_KEEPIDLE, 2) // seconds, as is the interval
    set(ExtendedSocketOptions.TCP_KEEPINTERVAL, 1)
    set(ExtendedSocketOptions.TCP_KEEPCOUNT, 3)
  }

  /** Connect within the caller's patience. */
  def connect(endpoint: Endpoint, patience: Patience): PlainTransport = {
    val address = new InetSocketAddress(endpoint.host, endpoint.port)
    if (address.isUnresolved) throw new UnknownHostException(endpoint.host)
    val channel = SocketChannel.open()
    try {
      channel.configureBlocking(false)
      channel.setOption[java.lang.Boolean](StandardSocketOptions.TCP_NODELAY, true)
      keepAlive(channel)
      val transport = new PlainTransport(channel)
      try {
        var isConnected = channel.connect(address)
        while (!isConnected) {
          patience.pause(transport)
          isConnected = channel.finishConnect()
        }
        transport
      } catch { case e: Throwable => transport.close(); throw e }
    } catch { case e: Throwable => channel.close(); throw e }
  }
}
