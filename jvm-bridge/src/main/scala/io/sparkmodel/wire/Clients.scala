// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import scala.collection.mutable

/** The clients of this JVM, by pool. One daemon thread closes what nobody uses, and ends with the last client. */
private[wire] object Clients {
  private val PeriodMs = 15000L
  private val IdleNs = 60000000000L
  private val UnusedNs = 300000000000L

  private val clients = mutable.Map.empty[(String, Credential), PoolClient]
  private var isSweeping = false

  def of(handle: Handle): PoolClient = synchronized {
    val client = clients.getOrElseUpdate(
      (handle.pool.poolId, handle.credential), new PoolClient(handle.pool, handle.credential))
    client.learn(handle.pool)
    client.usedNs = System.nanoTime // before a sweep can see it
    if (!isSweeping) {
      isSweeping = true
      val thread = new Thread(() => sweepOnAndOn(), "sparkmodel-idle-connections")
      thread.setDaemon(true)
      thread.start()
    }
    client
  }

  /** Close idle connections, and forget clients that have not been used; whether any client is left. */
  def sweep(nowNs: Long): Boolean = synchronized {
    clients.values.foreach(_.closeIdleSince(nowNs - IdleNs))
    clients.filterInPlace { (_, client) =>
      val isUsed = nowNs - client.usedNs < UnusedNs || !client.isQuiet
      if (!isUsed) client.close()
      isUsed
    }
    isSweeping = clients.nonEmpty
    isSweeping
  }

  private def sweepOnAndOn(): Unit =
    while ({ Thread.sleep(PeriodMs); sweep(System.nanoTime) }) ()
}
