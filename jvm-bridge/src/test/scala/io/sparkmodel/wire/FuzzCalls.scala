// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import java.lang.management.{BufferPoolMXBean, ManagementFactory}

import scala.jdk.CollectionConverters._
import scala.util.Using

import com.fasterxml.jackson.databind.JsonNode
import io.sparkmodel.exec.Messages
import org.apache.arrow.memory.{ArrowBuf, RootAllocator}

/** One batch by a client of its own, its answer read as a task reads it: for answers that nobody should trust. */
object FuzzCalls {
  private val Most = 16L << 20 // what a caller may take for an answer

  /** The values of the answer. */
  def score(a: JsonNode, submit: PoolClient => Ticket): Any = {
    val handle = Handle.find(a.required("handle").binaryValue).get
    val times = Times(a.required("silence_s").asDouble, a.required("gone_s").asDouble)
    val client = new PoolClient(handle.pool, handle.credential, times)
    Using.resource(new RootAllocator(Most)) { allocator =>
      var memory: ArrowBuf = null
      try {
        val ticket = submit(client)
        try {
          val answer = client.collect(ticket, () => (), length => {
            if (memory != null) memory.close()
            memory = null
            memory = allocator.buffer(length)
            memory.nioBuffer(0, length)
          })
          val taken = memory
          memory = null
          Using.resource(Messages.column(Schemas.read(answer.schema), taken, allocator, "test")) { column =>
            (0 until column.getValueCount).map(VectorCalls.spell(column, _)).asJava
          }
        } finally client.release(ticket)
      } finally {
        if (memory != null) memory.close()
        client.close()
        require(client.openConnections == 0, "a connection is left")
      }
    }
  }

  /** Bytes of the heap and outside of it that are in use. */
  def memory(): java.util.List[Long] = {
    System.gc()
    val pools = ManagementFactory.getPlatformMXBeans(classOf[BufferPoolMXBean]).asScala
    val heap = ManagementFactory.getMemoryMXBean.getHeapMemoryUsage.getUsed
    Seq(heap, pools.map(_.getMemoryUsed).sum).asJava
  }
}
