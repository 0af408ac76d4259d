// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel

import java.io.IOException
import java.nio.file.{Files, Path, Paths}

import scala.jdk.CollectionConverters._

import io.sparkmodel.call.ModelFunction
import io.sparkmodel.wire.Handle
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.sparkmodel.SqlInternals

/**
 * Models that were registered elsewhere, for sessions without Python.
 *
 * {{{
 *   Models.register(spark, "wine", Paths.get("/run/models/wine.handle"))
 *   spark.sql("SELECT wine(alcohol, sugar) FROM bottles")
 * }}}
 *
 * The file is what Python's `model.save_handle(path)` wrote: the pool's address and its token. Sessions also find by
 * themselves what the setting `spark.sparkmodel.handles`, or the environment's SPARKMODEL_HANDLES, names: files, or
 * directories of files that end in `.handle`, separated by commas. Each becomes a function of the model's name.
 */
object Models {
  val Setting = "spark.sparkmodel.handles"
  val Variable = "SPARKMODEL_HANDLES"

  /** Make a model a function of a session. */
  def register(spark: SparkSession, name: String, handle: Path): Unit = registerText(spark, name, read(handle))

  /** The same, of the text that the file would have. */
  def registerText(spark: SparkSession, name: String, handle: String): Unit =
    SqlInternals.setFunction(spark, name, builder(name, handle, parse(handle, s"model '$name'")))

  /** The same, for a session with Python: `udf` is the function that runs where the bridge is switched off. */
  def registerPython(spark: SparkSession, name: String, handle: String, udf: AnyRef): Unit =
    SqlInternals.setFunction(
      spark, name, new ModelFunction(name, parse(handle, s"model '$name'"), SqlInternals.pythonFunction(udf)))

  /** The functions that a setting of a new session names. */
  private[sparkmodel] def functions(setting: Option[String]): Seq[(String, Seq[Expression] => Expression)] =
    setting.toSeq.flatMap(_.split(',')).map(_.trim).filter(_.nonEmpty).flatMap(files).map { file =>
      val text = read(file)
      val handle = parse(text, s"the model of '$file'")
      handle.name -> builder(handle.name, text, handle)
    }

  private def files(name: String): Seq[Path] = {
    val path = Paths.get(name)
    if (!Files.isDirectory(path)) Seq(path)
    else {
      val found = Files.list(path)
      try found.iterator.asScala.filter(_.getFileName.toString.endsWith(".handle")).toSeq.sorted
      finally found.close()
    }
  }

  private def read(file: Path): String =
    try Files.readString(file)
    catch {
      case error: IOException =>
        throw new IllegalArgumentException(
          s"[INVALID_HANDLE] Cannot read handle '$file': $error. " +
            s"Hint: name files that model.save_handle(path) wrote, in $Setting or $Variable.",
          error)
    }

  private def parse(text: String, what: String): Handle =
    Handle.find(text.getBytes("UTF-8")).getOrElse(throw new IllegalArgumentException(
      s"[INVALID_HANDLE] Cannot register $what: it is not the text of a handle. " +
        "Hint: write the file with model.save_handle(path)."))

  private def builder(name: String, text: String, handle: Handle): ModelFunction =
    ModelFunction.ofText(name, text, handle)
}
