// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.io.{Closeable, IOException}
import java.net.{InetSocketAddress, SocketTimeoutException, StandardSocketOptions, UnknownHostException}
import java.nio.ByteBuffer
import java.nio.channels.{ClosedSelectorException, SelectionKey, Selector, SocketChannel}

/** A byte stream to another program, never blocking but in `await`. For one thread at a time, but for `close`. */
private[wire] trait Transport extends Closeable {

  /** Read what is there: the number of bytes, 0 if there is nothing now, -1 at the end. */
  def read(target: ByteBuffer): Int

  /** Write what fits now; true once all of it has left. */
  def write(sources: Array[ByteBuffer]): Boolean

  /** Wait until what the last call lacked may go on; false if it does not within the time. */
  def await(millis: Long): Boolean
}

/** How long a caller waits: for any sign of life, in all, and as long as its watch does not throw. */
private[wire] final class Patience(watch: Watch, silenceNs: Long, deadlineNs: Option[Long] = None) {

  /** Wait until a transport can go on. */
  def pause(transport: Transport): Unit = {
    val now = System.nanoTime
    val leftNs = deadlineNs.fold(silenceNs)(deadline => math.min(silenceNs, deadline - now))
    while (!transport.await(Patience.slice(leftNs - (System.nanoTime - now)))) {
      Patience.look(watch)
      if (System.nanoTime - now >= leftNs) throw new SocketTimeoutException("no sign of life within the time")
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

  /** Connect within the caller's patience. */
  def connect(endpoint: Endpoint, patience: Patience): PlainTransport = {
    val address = new InetSocketAddress(endpoint.host, endpoint.port)
    if (address.isUnresolved) throw new UnknownHostException(endpoint.host)
    val channel = SocketChannel.open()
    try {
      channel.configureBlocking(false)
      channel.setOption[java.lang.Boolean](StandardSocketOptions.TCP_NODELAY, true)
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
