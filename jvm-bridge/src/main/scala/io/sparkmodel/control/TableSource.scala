// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.control

import java.nio.channels.{Channels, FileChannel}
import java.nio.file.{Files, Path, StandardOpenOption}

import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.wire.ModelException
import org.apache.arrow.vector.VectorSchemaRoot
import org.apache.arrow.vector.ipc.ArrowStreamWriter
import org.apache.spark.sql.{AnalysisException, SparkSession}
import org.apache.spark.sql.execution.arrow.ArrowWriter
import org.apache.spark.sql.sparkmodel.{CatalystInternals, SqlInternals}

/**
 * The rows of a table that holds a model, in a file, for the Python that unpacks them: Spark reads tables, and that
 * Python may have no session.
 */
object TableSource {
  private val Prefix = "table:"
  private val Version = "(.+)@(\\d+)".r
  private val Timestamp = "(.+)@(\\d{4}-.+)".r
  private val RowsInBatch = 4 // of up to a mebibyte
  private val RowsInPartition = 64 // the driver holds a partition at a time

  /** Run what sends a request, with the path of such a file in the request if the source is a table. */
  def within[T](session: SparkSession, using: Option[String], location: Option[String], request: ObjectNode)(
      send: => T): T = location.filter(text => using.contains("table") || text.startsWith(Prefix)) match {
    case None => send
    case Some(text) =>
      val file = Files.createTempFile("sparkmodel", ".arrows") // readable for this user only
      try {
        write(session, text, file)
        request.put("pieces", file.toString)
        send
      } finally {
        request.remove("pieces")
        Files.deleteIfExists(file)
      }
  }

  private def write(session: SparkSession, location: String, file: Path): Unit = {
    val frame =
      try {
        val found = session.sql(query(session, location.stripPrefix(Prefix)))
        val partitions = (found.count() + RowsInPartition - 1) / RowsInPartition
        if (partitions > 1) found.repartition(partitions.toInt) else found
      } catch {
        case error: AnalysisException if Option(error.getCondition).exists(_.contains("TIME_TRAVEL")) =>
          throw failure("UNSUPPORTED_SOURCE", location, "the table's format keeps no versions", "leave the version out")
        case error: AnalysisException => throw failure("MODEL_NOT_FOUND", location, s"Spark says: ${firstLine(error)}")
      }
    val root = VectorSchemaRoot.create(
      CatalystInternals.arrowSchema(frame.schema, SqlInternals.timeZone(session), largeVarTypes = false),
      CatalystInternals.rootAllocator)
    val channel = FileChannel.open(file, StandardOpenOption.WRITE)
    try {
      val stream = new ArrowStreamWriter(root, null, Channels.newChannel(Channels.newOutputStream(channel)))
      val writer = ArrowWriter.create(root)
      stream.start()
      SqlInternals.rows(frame).grouped(RowsInBatch).foreach { rows =>
        rows.foreach(writer.write)
        writer.finish()
        stream.writeBatch()
        writer.reset()
      }
      stream.end()
    } catch {
      case error: Exception => throw failure("MODEL_LOAD_FAILED", location, s"the table cannot be read: ${firstLine(error)}")
    } finally {
      channel.close()
      root.close()
    }
  }

  private def query(session: SparkSession, name: String): String = name match {
    case Version(table, version) => s"SELECT * FROM ${quoted(session, table)} VERSION AS OF $version"
    case Timestamp(table, time) =>
      s"SELECT * FROM ${quoted(session, table)} TIMESTAMP AS OF '${time.replace("\\", "\\\\").replace("'", "\\'")}'"
    case table => s"SELECT * FROM ${quoted(session, table)}"
  }

  /** The name with each part in backquotes, so that it is nothing but a name. */
  private def quoted(session: SparkSession, name: String): String =
    try SqlInternals.nameParts(session, name).map(part => "`" + part.replace("`", "``") + "`").mkString(".")
    catch { case _: AnalysisException =>
      throw failure("UNSUPPORTED_SOURCE", name, "that is not a table's name", "write db.name, or db.name@3 for a version")
    }

  private def failure(condition: String, location: String, fact: String, hint: String = "") =
    new ModelException(condition, s"Cannot read a model from table '${location.stripPrefix(Prefix)}'", fact, hint)

  private def firstLine(error: Throwable): String =
    Option(error.getMessage).getOrElse(error.toString).linesIterator.nextOption().getOrElse("")
}
